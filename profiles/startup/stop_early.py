"""A step scan that ends as soon as the coordination number is known well enough.

It needs Bluesky alone: copy it into a session, or import it. With ``nearedge run`` beside it::

    from nearedge.profiles.startup.stop_early import Answers, scan_until_known

    answers = Answers()  # once in a session
    RE(scan_until_known([i0, it], mono, energies, answers=answers))

The answers are those to the spectrum as far as it has been measured, which `nearedge` publishes
while the scan runs (``bus.address`` of its profile). Without a service the scan goes to its end.
"""

import json
import threading
from collections.abc import Sequence
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.callbacks.zmq import RemoteDispatcher
from bluesky.utils import MsgGenerator


class Answers:
    """The newest answer of the service; a thread of its own listens until the session ends.

    Parameters
    ----------
    address, prefix
        Where the service publishes, and under which prefix.

    Attributes
    ----------
    heard
        Set once the service, which sends heartbeats, has been heard.
    """

    def __init__(self, address: str = "127.0.0.1:5579", *, prefix: bytes = b"nearedge") -> None:
        self.heard = threading.Event()
        self._newest: dict[str, Any] = {}
        self._dispatcher = RemoteDispatcher(address, prefix=prefix, deserializer=json.loads)
        self._dispatcher.subscribe(self._take, "event")
        threading.Thread(target=self._dispatcher.start, name="answers", daemon=True).start()

    def _take(self, name: str, doc: dict[str, Any]) -> None:
        if "raw_uid" in doc["data"]:
            self._newest = doc["data"]
        self.heard.set()

    def newest(self, run_uid: str) -> dict[str, Any] | None:
        """Return the newest answer to a run, or None; this never waits."""
        newest = self._newest
        return newest if newest.get("raw_uid") == run_uid else None


def is_known(answer: dict[str, Any] | None, *, width: int) -> bool:
    """Return whether the interval of the coordination number is as narrow as asked for.

    An answer to a spectrum unlike all that the model has learned does not count.
    """
    if answer is None or "cn_lo" not in answer or answer["ood_flag"]:
        return False
    return bool(answer["cn_hi"] - answer["cn_lo"] <= width)


def scan_until_known(
    detectors: Sequence[Any],
    motor: Any,
    positions: Sequence[float],
    *,
    answers: Answers,
    width: int = 0,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Step through positions until the interval of the coordination number is narrow enough.

    Parameters
    ----------
    detectors, motor
        Read at each position, and what is moved: the energy.
    positions
        Of the whole scan.
    answers
        Of the service.
    width
        So many may lie between the lowest and the highest coordination number of the 90 %
        prediction set; 0: only one is left.
    md
        For the start document.
    """
    start = {
        "plan_name": "scan_until_known",
        "detectors": [detector.name for detector in detectors],
        "motors": [motor.name],
        "hints": {"dimensions": [((motor.name,), "primary")]},
        **(md or {}),
    }

    @bpp.stage_decorator([*detectors, motor])
    def scan() -> MsgGenerator[str]:
        uid = yield from bps.open_run(md=start)
        for position in positions:
            yield from bps.mv(motor, position)
            yield from bps.trigger_and_read([*detectors, motor])
            if is_known(answers.newest(uid), width=width):
                break
        yield from bps.close_run()
        return uid

    return (yield from scan())
