"""Which ranges of a XANES scan stand for the pre-edge and the post-edge."""

from dataclasses import dataclass, replace

from nearedge.models.spectrum import Array

#: From here on a scan reaches far enough for Larch's own default ranges, eV from e0.
FULL_PRE, FULL_POST = 50.0, 100.0
#: Less pre-edge than this carries no slope that could be carried 60 eV past the edge, eV.
LINE_PRE = 15.0
#: Less post-edge than this still holds the white line and its oscillation, eV.
SHORT_POST = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Fit ranges under Larch's names, eV from e0; None: not chosen."""

    pre1: float | None = None
    pre2: float | None = None
    norm1: float | None = None
    norm2: float | None = None
    nnorm: int | None = None
    nvict: int = 0
    npre: int = 1


def choose_windows(energy: Array, e0: float, wanted: Windows) -> Windows:
    """Fill what ``wanted`` leaves open: nothing for a full scan, where Larch's defaults are good.

    A near-edge scan has too little on either side for Larch's defaults: a line through its last
    eV before the edge, carried past it, and a slope through its few oscillations after it, would
    move the step by tens of per cent. There the pre-edge is a line only if it is long enough, and
    the post-edge a mean (see docs/accuracy.md for the spread of the step that this leaves).

    Parameters
    ----------
    energy
        (n,) eV, strictly increasing.
    e0
        Edge energy, eV.
    wanted
        What the user set; that is never changed.
    """
    before, after = e0 - energy[0], energy[-1] - e0
    chosen = wanted
    if before < FULL_PRE and wanted.pre1 is None and wanted.pre2 is None:
        chosen = replace(chosen, **_near_pre(before))
    if after < FULL_POST and wanted.norm1 is None and wanted.norm2 is None:
        chosen = replace(chosen, **_near_post(after))
        if wanted.nnorm is None:
            chosen = replace(chosen, nnorm=0)
    return chosen


def _near_pre(before: float) -> dict[str, float | int]:
    if before >= LINE_PRE + 8.0:
        return {"pre1": -before, "pre2": -8.0, "npre": 1}
    return {"pre1": -before, "pre2": -min(8.0, before / 2), "npre": 0}


def _near_post(after: float) -> dict[str, float]:
    return {"norm1": min(20.0, after / 2), "norm2": after}
