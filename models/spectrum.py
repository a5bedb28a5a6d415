"""The spectrum, before and after normalisation, and the refusal that takes its place."""

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Array: TypeAlias = NDArray[np.float64]


class Technique(StrEnum):
    """How the spectrum was measured."""

    XANES = "xanes"
    EELS = "eels"


def freeze_arrays(value: "DataclassInstance") -> None:
    """Make every array field of a frozen dataclass read-only."""
    for f in fields(value):
        item = getattr(value, f.name)
        if isinstance(item, np.ndarray):
            item = item.view()
            item.flags.writeable = False
            object.__setattr__(value, f.name, item)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spectrum:
    """A measured spectrum of one edge, not yet normalised.

    Attributes
    ----------
    energy
        (n,) eV, as measured: any order, duplicates and NaN possible.
    mu
        (n,) absorption (XANES) or counts (EELS), any scale.
    technique, absorber, edge
        What was measured, for example XANES of the ``Si`` ``K`` edge.
    reference
        (n,) absorption of a reference foil measured alongside, or None.
    low_loss_energy, low_loss
        (m,) eV and counts of the low-loss spectrum (EELS), or None.
    complete
        False when the scan ended early or still runs.
    flags
        Short words on how it was measured: ``gap``, ``bad-points`` … They go with the result.
    formula
        The sample's formula or list of elements, as its file or run writes it; empty where not
        known.
    """

    energy: Array
    mu: Array
    technique: Technique
    absorber: str
    edge: str
    reference: Array | None = None
    low_loss_energy: Array | None = None
    low_loss: Array | None = None
    complete: bool = True
    flags: tuple[str, ...] = ()
    formula: str = ""

    def __post_init__(self) -> None:
        freeze_arrays(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NormalisedSpectrum:
    """A spectrum that runs from 0 before the edge to 1 past it: what the model reads.

    Attributes
    ----------
    energy
        (n,) eV, strictly increasing, the recorded ``energy_shift`` already added.
    mu
        (n,) the signal on ``energy``, before normalisation.
    norm, flat
        (n,) normalised, and normalised with the post-edge flattened to 1 (Larch's names). For
        EELS both are the background-free signal divided by the edge step.
    e0
        Edge energy, eV.
    edge_step
        Height of the edge in units of ``mu``; positive.
    energy_shift
        eV added to the measured energies.
    parameters
        The numbers that made it (``pre1 pre2 norm1 norm2 nnorm nvict …``), kept as provenance.
    flags
        Short words on what a reader should know: those of the measurement, and ``partial``,
        ``short-post-edge``, …
    elements
        Symbols of what is in the sample, sorted; empty where not known.
    """

    energy: Array
    mu: Array
    norm: Array
    flat: Array
    e0: float
    edge_step: float
    technique: Technique
    absorber: str
    edge: str
    energy_shift: float = 0.0
    complete: bool = True
    parameters: dict[str, float | str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        freeze_arrays(self)


class Reason(StrEnum):
    """Why a measurement was not inverted."""

    NO_DATA = "no-data"
    TOO_FEW_POINTS = "too-few-points"
    BAD_ENERGIES = "bad-energies"
    WRONG_UNITS = "wrong-units"
    NOT_FINITE = "not-finite"
    NO_EDGE = "no-edge"
    NEGATIVE_STEP = "negative-step"
    SATURATED = "saturated"
    TOO_SHORT = "too-short"
    WRONG_EDGE = "wrong-edge"
    MISSING_SIGNAL = "missing-signal"
    UNREADABLE = "unreadable"
    NOT_A_SAMPLE = "not-a-sample"  # dark, reference or calibration run
    UNLIKE = "unlike"  # its repeats are not repeats of one spectrum
    UNSUPPORTED = "unsupported"  # the model knows no such absorber or edge


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A measurement that cannot be inverted: a value that is recorded, not an exception.

    Attributes
    ----------
    reason
        The class of the trouble, for counting and searching.
    detail
        One sentence: what was found, what was expected, what to do.
    """

    reason: Reason
    detail: str
