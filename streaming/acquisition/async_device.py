"""The answer as a device of ophyd-async."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from ophyd_async.core import (
    AsyncStatus,
    SignalR,
    StandardReadable,
    StandardReadableFormat,
    soft_signal_r_and_setter,
)

from nearedge.streaming.acquisition.answer import FIGURES, NAN, WORDS, LiveAnswer
from nearedge.streaming.acquisition.answers import Answers, OnTimeout


class AsyncNearEdge(StandardReadable):
    """The same as `nearedge.streaming.acquisition.device.NearEdge`, for ophyd-async.

    Make it as any device, ``with init_devices(): nearedge = AsyncNearEdge()``, and subscribe its
    `follow`: ``RE.subscribe(nearedge.follow)``.

    Parameters
    ----------
    answers
        Who hears the service; by default one at the default address, which `close` closes.
    timeout_s
        How long a trigger waits.
    on_timeout
        ``fail``: the trigger fails, and with it the plan. ``record``: it completes; `status` is
        ``timeout``, `detail` says why, and the figures are NaN.
    name
        The name of the device.
    """

    cn_mean: SignalR[float]
    cn_mean_lo: SignalR[float]
    cn_mean_hi: SignalR[float]
    cn_map: SignalR[float]
    cn_lo: SignalR[float]
    cn_hi: SignalR[float]
    bond_mean: SignalR[float]
    bond_lo: SignalR[float]
    bond_hi: SignalR[float]
    angle_mean: SignalR[float]
    angle_lo: SignalR[float]
    angle_hi: SignalR[float]
    misfit: SignalR[float]
    ood_score: SignalR[float]
    ood_flag: SignalR[bool]
    status: SignalR[str]
    raw_uid: SignalR[str]
    spectrum: SignalR[str]
    key: SignalR[str]
    flags: SignalR[str]
    detail: SignalR[str]
    ready: SignalR[bool]

    def __init__(
        self,
        *,
        answers: Answers | None = None,
        timeout_s: float = 60.0,
        on_timeout: OnTimeout = "fail",
        name: str = "",
    ) -> None:
        self.answers = Answers() if answers is None else answers
        self.timeout_s, self.on_timeout = timeout_s, on_timeout
        self._setters: dict[str, Callable[[Any], None]] = {}
        with self.add_children_as_readables(StandardReadableFormat.HINTED_SIGNAL):
            self._add_numbers(hinted=True)
        with self.add_children_as_readables():
            self._add_numbers(hinted=False)
            self.ood_flag, self._setters["ood_flag"] = soft_signal_r_and_setter(bool, False)
            for word in WORDS:
                signal, self._setters[word] = soft_signal_r_and_setter(str, "")
                setattr(self, word, signal)
        self.ready, self._set_ready = soft_signal_r_and_setter(bool, False)
        super().__init__(name=name)

    def _add_numbers(self, *, hinted: bool) -> None:
        for number, figure in FIGURES.items():
            if figure.hinted is hinted:
                signal, self._setters[number] = soft_signal_r_and_setter(
                    float, NAN, units=figure.units, precision=figure.precision
                )
                setattr(self, number, signal)

    async def connect(self, *args: Any, **kwargs: Any) -> None:
        """Connect the signals, and show what is heard from now on."""
        await super().connect(*args, **kwargs)
        loop = asyncio.get_running_loop()
        self._show(self.answers.newest)
        self._set_ready(self.answers.ready)
        self.answers.subscribe(lambda answer: _call_in(loop, self._show, answer))
        self.answers.watch(lambda ready: _call_in(loop, self._set_ready, ready))

    def follow(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take the documents of the RunEngine: ``RE.subscribe(nearedge.follow)``."""
        self.answers.follow(name, doc)

    @AsyncStatus.wrap
    async def trigger(self) -> None:
        """Be done once the run that has just ended is answered.

        Raises
        ------
        RuntimeError
            If it follows no RunEngine.
        nearedge.streaming.acquisition.answers.NoAnswerError
            When no answer came in `timeout_s` and `on_timeout` is ``fail``.
        """
        await asyncio.wrap_future(
            self.answers.expect(self.timeout_s, reader=self.name, on_timeout=self.on_timeout)
        )

    def close(self) -> None:
        """Stop listening."""
        self.answers.close()

    def _show(self, answer: LiveAnswer) -> None:
        for name, value in answer.values():
            self._setters[name](value)


def _call_in(loop: asyncio.AbstractEventLoop, call: Callable[[Any], None], value: object) -> None:
    """Call in the thread of a loop, unless that has ended."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(call, value)
