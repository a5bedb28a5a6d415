"""Which ranges of a XANES scan stand for the pre-edge and the post-edge."""

from dataclasses import dataclass, replace

from nearedge.models.spectrum import Array

#: From here on a scan reaches far enough for Larch's own default ranges, eV from e0.
FULL_PRE, FULL_POST = 50.0, 100.0
#: Less pre-edge than this fixes no slope that could be carried 60 eV past the edge, eV.
LINE_PRE = 20.0
#: Less than this before a pre-edge peak is no pre-edge at all, eV.
LEAST_PRE = 5.0
#: Part of a short pre-edge that is left out next to the edge: the foot of the edge reaches there.
FOOT = 0.7
#: Where the white line and the steepest oscillation are past, eV.
CALM_POST = 20.0
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


def choose_windows(
    energy: Array, e0: float, wanted: Windows, *, onset: float | None = None
) -> Windows:
    """Fill what ``wanted`` leaves open: nothing for a full scan, where Larch's defaults are good.

    A near-edge scan has too little on either side for Larch's defaults. A slope fitted to 40 eV of
    post-edge oscillations and carried back to e0 scatters the step of calculated Si K edges by a
    quarter, their mean by a twentieth; so there the post-edge is a mean, and the pre-edge a line
    only where it is long enough.

    Parameters
    ----------
    energy
        (n,) eV, strictly increasing.
    e0
        Edge energy, eV.
    wanted
        What the user set; that is never changed.
    onset
        Where a pre-edge peak begins, eV; None: there is none.
    """
    before, after = e0 - energy[0], energy[-1] - e0
    chosen = wanted
    if before < FULL_PRE and wanted.pre1 is None and wanted.pre2 is None:
        chosen = _near_pre(chosen, before, e0 - (e0 if onset is None else onset))
    if after < FULL_POST and wanted.norm1 is None and wanted.norm2 is None:
        chosen = _near_post(chosen, after)
    return chosen


def is_full(energy: Array, e0: float) -> bool:
    """Tell whether a scan reaches far enough on both sides of ``e0`` eV for Larch's defaults."""
    return bool(e0 - energy[0] >= FULL_PRE and energy[-1] - e0 >= FULL_POST)


def _near_pre(chosen: Windows, before: float, peak: float) -> Windows:
    """Fit what comes before a pre-edge peak ``peak`` eV before e0; 0: there is none."""
    calm = before - peak if before - peak >= LEAST_PRE else before
    if calm >= LINE_PRE:
        return replace(chosen, pre1=-before, pre2=calm / 2 - before)
    return replace(chosen, pre1=-before, pre2=calm - before - FOOT * calm, npre=0)


def _near_post(chosen: Windows, after: float) -> Windows:
    degree = 0 if chosen.nnorm is None else chosen.nnorm
    return replace(chosen, norm1=min(CALM_POST, after / 2), norm2=after, nnorm=degree)
