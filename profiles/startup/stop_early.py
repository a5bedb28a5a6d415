"""A step scan that ends as soon as the coordination number is known well enough.

Copy it into a session, or import it. With ``nearedge run`` beside it::

    from nearedge.profiles.startup.stop_early import scan_until_known
    from nearedge.streaming.acquisition import NearEdge

    nearedge = NearEdge(name="nearedge")  # once in a session
    RE(scan_until_known([i0, it], mono, energies, nearedge=nearedge))

The answers are those to the spectrum as far as it has been measured, which `nearedge` publishes
while the scan runs (``bus.address`` of its profile). Without a service the scan goes to its end.
"""

from collections.abc import Sequence
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import MsgGenerator


def is_known(nearedge: Any, run_uid: str, *, width: int) -> MsgGenerator[bool]:
    """Return whether the interval of the coordination number is as narrow as asked for.

    An answer to another run does not count, nor one to a spectrum unlike all that the model has
    learned. The signals are read, not triggered: this never waits.
    """
    if (yield from bps.rd(nearedge.raw_uid)) != run_uid or (yield from bps.rd(nearedge.ood_flag)):
        return False
    highest = yield from bps.rd(nearedge.cn_hi)
    lowest = yield from bps.rd(nearedge.cn_lo)
    return bool(highest - lowest <= width)  # NaN, of a rejection, is not


def scan_until_known(
    detectors: Sequence[Any],
    motor: Any,
    positions: Sequence[float],
    *,
    nearedge: Any,
    width: int = 0,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Step through positions until the interval of the coordination number is narrow enough.

    The answer that ends the scan is recorded in the same run, in the stream ``nearedge``.

    Parameters
    ----------
    detectors, motor
        Read at each position, and what is moved: the energy.
    positions
        Of the whole scan.
    nearedge
        The device that has the answers: a `NearEdge` or an `AsyncNearEdge`.
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
    answer = [nearedge.cn_mean, nearedge.cn_lo, nearedge.cn_hi, nearedge.bond_mean]

    @bpp.stage_decorator([*detectors, motor])
    def scan() -> MsgGenerator[str]:
        uid = yield from bps.open_run(md=start)
        for position in positions:
            yield from bps.mv(motor, position)
            yield from bps.trigger_and_read([*detectors, motor])
            if (yield from is_known(nearedge, uid, width=width)):
                yield from bps.trigger_and_read(answer, name="nearedge")
                break
        yield from bps.close_run()
        return uid

    return (yield from scan())
