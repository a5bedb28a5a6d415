"""The answer as a device of ophyd."""

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from ophyd import Component, Device, DeviceStatus, Kind, Signal
from ophyd.signal import SignalRO

from nearedge.streaming.acquisition.answer import FIGURES, NAN, LiveAnswer
from nearedge.streaming.acquisition.answers import Answers, OnTimeout


class Told(SignalRO):
    """A signal whose value comes from the service."""

    def show(self, value: float | str | bool, *, at: float) -> None:
        """Take a new value."""
        Signal.put(self, value, timestamp=at, force=True)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the data key, with unit and decimal places."""
        described: dict[str, dict[str, Any]] = super().describe()
        figure = FIGURES.get(self.attr_name)
        if figure is not None:
            described[self.name] |= {"units": figure.units, "precision": figure.precision}
        return described


def _number(name: str) -> Component[Told]:
    kind = Kind.hinted if FIGURES[name].hinted else Kind.normal
    return Component(Told, kind=kind, value=NAN)


def _word() -> Component[Told]:
    return Component(Told, kind=Kind.normal, value="")


def _flag(kind: Kind) -> Component[Told]:
    return Component(Told, kind=kind, value=False)


class NearEdge(Device):
    """The newest answer of the service, as signals, and a trigger that waits for the next one.

    Subscribe its `follow` to the RunEngine: ``RE.subscribe(nearedge.follow)``. The trigger then
    completes when the run that has just ended is answered. Reading signals of it never waits.

    Parameters
    ----------
    answers
        Who hears the service; by default one at the default address, which `close` closes.
    timeout_s
        How long a trigger waits.
    on_timeout
        ``fail``: the trigger fails, and with it the plan. ``record``: it completes; `status` is
        ``timeout``, `detail` says why, and the figures are NaN.
    kwargs
        Those of `ophyd.Device`; ``name`` is the one that is needed.
    """

    cn_mean = _number("cn_mean")
    cn_mean_lo = _number("cn_mean_lo")
    cn_mean_hi = _number("cn_mean_hi")
    cn_map = _number("cn_map")
    cn_lo = _number("cn_lo")
    cn_hi = _number("cn_hi")
    bond_mean = _number("bond_mean")
    bond_lo = _number("bond_lo")
    bond_hi = _number("bond_hi")
    angle_mean = _number("angle_mean")
    angle_lo = _number("angle_lo")
    angle_hi = _number("angle_hi")
    misfit = _number("misfit")
    ood_score = _number("ood_score")
    ood_flag = _flag(Kind.normal)
    status = _word()
    raw_uid = _word()
    spectrum = _word()
    key = _word()
    flags = _word()
    detail = _word()
    ready = _flag(Kind.omitted)

    def __init__(
        self,
        *,
        answers: Answers | None = None,
        timeout_s: float = 60.0,
        on_timeout: OnTimeout = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.answers = Answers() if answers is None else answers
        self.timeout_s, self.on_timeout = timeout_s, on_timeout
        self._lock_of_values = threading.RLock()
        self._show(self.answers.newest)
        self._note(self.answers.ready)
        self.answers.subscribe(self._show)
        self.answers.watch(self._note)

    def follow(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take the documents of the RunEngine: ``RE.subscribe(nearedge.follow)``."""
        self.answers.follow(name, doc)

    def trigger(self) -> DeviceStatus:
        """Return a status that is done once the run that has just ended is answered.

        Raises
        ------
        RuntimeError
            If it follows no RunEngine.
        nearedge.streaming.acquisition.answers.NoAnswerError
            As the status's exception, when no answer came in `timeout_s` and `on_timeout` is
            ``fail``.
        """
        status = DeviceStatus(self)
        future = self.answers.expect(self.timeout_s, reader=self.name, on_timeout=self.on_timeout)
        future.add_done_callback(lambda done: _finish(status, done))
        return status

    def read(self) -> OrderedDict[str, dict[str, Any]]:
        """Return the values of one answer, whatever comes meanwhile."""
        with self._lock_of_values:
            return super().read()

    def close(self) -> None:
        """Stop listening."""
        self.answers.close()

    def _show(self, answer: LiveAnswer) -> None:
        with self._lock_of_values:
            for name, value in answer.values():
                getattr(self, name).show(value, at=answer.time)

    def _note(self, ready: bool) -> None:
        self.ready.show(ready, at=time.time())


def _finish(status: DeviceStatus, done: Future[LiveAnswer]) -> None:
    error = done.exception()
    if error is None:
        status.set_finished()
    else:
        status.set_exception(error)
