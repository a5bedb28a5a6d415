"""Count what the catalog has of what was sent."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

FINAL = ("complete", "rejected")
WHOLE = (*FINAL, "degraded")  # a quick answer stands beside the place of its full one
ARRAYS = {"spectrum", "positions", "species", "per_sample", "rdf"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What became of the spectra of one drill.

    Attributes
    ----------
    sent, complete, rejected
        Spectra.
    duplicated
        Results beyond the first of one spectrum; a quick answer beside its full one is one too.
    half_written
        Results that are still being written, or lack an array, or have one that cannot be read.
    alive
        Whether the service ran to the end.
    stops
        Exit code and seconds of each graceful stop.
    """

    sent: int
    complete: int
    rejected: int
    duplicated: int
    half_written: int
    alive: bool
    stops: tuple[tuple[int, float], ...] = ()

    @property
    def good(self) -> bool:
        """Whether every spectrum has exactly one whole result."""
        return (
            self.sent == self.complete + self.rejected
            and self.duplicated == self.half_written == 0
            and self.alive
            and all(code == 0 and seconds < 10.0 for code, seconds in self.stops)
        )


def audit(
    results: Any, sent: Iterable[str], *, alive: bool, stops: Iterable[tuple[int, float]] = ()
) -> Audit:
    """Read every result of a catalog.

    Parameters
    ----------
    results
        Tiled container of the results.
    sent
        Uids of the runs that were sent, of one spectrum each.
    alive, stops
        As in `Audit`.
    """
    wanted = set(sent)
    found: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    half = 0
    for node in results.values():
        metadata = node.metadata
        raw, status = metadata["raw"], metadata["status"]
        half += status not in WHOLE or not is_whole(node, status)
        if raw["uid"] in wanted:
            found[raw["uid"], raw["stream"], raw["spectrum"]].append(status)
    complete, rejected = (sum(status in one for one in found.values()) for status in FINAL)
    return Audit(
        sent=len(wanted),
        complete=complete,
        rejected=rejected,
        duplicated=sum(len(one) - 1 for one in found.values()),
        half_written=half,
        alive=alive,
        stops=tuple(stops),
    )


def is_whole(node: Any, status: str) -> bool:
    """Return whether a result has its arrays, each of them readable."""
    names = set(node)
    if status in ("complete", "degraded") and not names >= ARRAYS:
        return False
    return all(np.asarray(node[name].read()).size > 0 for name in names)
