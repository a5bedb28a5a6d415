"""A series of scans that measures where the coordination number changes fastest.

The next temperature (or pressure, or position) is chosen by what the scans before it gave. Copy it
into a session, or import it. With ``nearedge run`` beside it::

    from nearedge.profiles.startup.follow_change import FastestChange, follow_change
    from nearedge.streaming.acquisition import NearEdge

    nearedge = NearEdge(name="nearedge", timeout_s=120, on_timeout="record")
    RE.subscribe(nearedge.follow)

    def measure():
        yield from bp.list_scan([i0, it], mono, energies)

    chooser = FastestChange(300, 900, closest=5)
    RE(follow_change(nearedge, furnace, measure, chooser=chooser, most=15))

The series is a run of its own, with an event for each position: where it is, and the answer there
with the uid of its raw run and the key of the result. Anything with `ask` and `tell` can choose,
such as an agent of bluesky-adaptive.
"""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Protocol

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import MsgGenerator


class Chooser(Protocol):
    """What says where to measure next."""

    def ask(self) -> float | None:
        """Return the next position; None when there is nothing more to learn."""

    def tell(self, position: float, figure: float) -> None:
        """Take what was found at a position; NaN where there is no answer."""


class FastestChange:
    """Halves the interval over which a figure changes most.

    Parameters
    ----------
    lowest, highest
        Ends of the range.
    first
        So many evenly spaced positions come first; a change between them, and back, is not seen.
    closest
        Positions come no nearer to each other than this.
    noise
        A smaller change of the figure is none.
    """

    def __init__(
        self,
        lowest: float,
        highest: float,
        *,
        first: int = 4,
        closest: float,
        noise: float = 0.2,
    ) -> None:
        step = (highest - lowest) / (first - 1)
        self._first = [lowest + i * step for i in range(first)]
        self._closest, self._noise = closest, noise
        self._asked: set[float] = set()
        self.found: dict[float, float] = {}

    def ask(self) -> float | None:
        """Return the next position, or None."""
        if self._first:
            return self._first.pop(0)
        known = sorted(self.found.items())
        changes = [
            (abs(after - before), (left + right) / 2)
            for (left, before), (right, after) in pairwise(known)
            if right - left >= 2 * self._closest
        ]
        new = [(d, x) for d, x in changes if d > self._noise and x not in self._asked]
        if not new:
            return None
        _, position = max(new)
        self._asked.add(position)  # without an answer it is not asked for again
        return position

    def tell(self, position: float, figure: float) -> None:
        """Take what was found; NaN is no answer."""
        if not math.isnan(figure):
            self.found[position] = figure


def trusted(reading: Mapping[str, Mapping[str, Any]], nearedge: Any) -> float:
    """Return the mean coordination number of a reading; NaN if it is not to be relied on."""
    unlike_all = reading[nearedge.ood_flag.name]["value"]
    return math.nan if unlike_all else float(reading[nearedge.cn_mean.name]["value"])


def follow_change(
    nearedge: Any,
    axis: Any,
    measure: Callable[[], MsgGenerator[Any]],
    *,
    chooser: Chooser,
    most: int,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Scan at one position after another, each chosen by the coordination numbers found so far.

    Parameters
    ----------
    nearedge
        The device that has the answers; it follows the RunEngine.
    axis
        What is moved between scans.
    measure
        Makes the plan of one scan, which is a run of its own. Its start document gets the uid of
        the series, as ``series``.
    chooser
        Asked for positions, and told the mean coordination number at each.
    most
        So many scans at most.
    md
        For the start document of the series.
    """
    start = {"plan_name": "follow_change", "motors": [axis.name], "detectors": [nearedge.name]}

    @bpp.stage_decorator([axis])
    def series() -> MsgGenerator[str]:
        hints = {"dimensions": [((axis.name,), "primary")]}
        uid = yield from bps.open_run(md={**start, "hints": hints, **(md or {})})
        for _ in range(most):
            position = chooser.ask()
            if position is None:
                break
            yield from bps.mv(axis, position)
            scan = bpp.inject_md_wrapper(measure(), {"series": uid})
            yield from bpp.set_run_key_wrapper(scan, "scan")
            reading = yield from bps.trigger_and_read([axis, nearedge])
            chooser.tell(position, trusted(reading, nearedge))
        yield from bps.close_run()
        return uid

    return (yield from series())
