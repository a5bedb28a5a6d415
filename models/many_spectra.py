"""Many spectra on one energy axis, before and after normalisation."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nearedge.models.spectrum import (
    Array,
    NormalisedSpectrum,
    Rejected,
    Spectrum,
    Technique,
    freeze_arrays,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spectra:
    """Measured spectra of one edge on one energy axis: the pixels of a map, the sweeps of a series.

    Attributes
    ----------
    energy
        (n,) eV, as measured: any order, duplicates and NaN possible.
    mu
        (p, n) absorption (XANES) or counts (EELS), any scale.
    technique, absorber, edge, complete, flags, formula
        What all of them share, as in `nearedge.models.spectrum.Spectrum`.
    reference
        (p, n) absorption of a reference foil measured alongside, or None.
    low_loss_energy, low_loss
        (m,) eV and (p, m) counts of the low-loss spectra (EELS), or None.
    noise
        (p,) standard deviation of one point, NaN where it is to be estimated from how far points
        lie off their neighbours; None: of all. A spectrum that is normalised alone does not use it.
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
    noise: Array | None = None

    def __post_init__(self) -> None:
        if self.mu.ndim != 2 or self.energy.shape != self.mu.shape[1:]:
            raise ValueError(
                f"energies {self.energy.shape} and signals {self.mu.shape}; expected (n,) and "
                "(spectra, n)"
            )
        freeze_arrays(self)

    def __len__(self) -> int:
        return len(self.mu)

    def some(self, rows: slice) -> "Spectra":
        """Return some of the spectra."""
        parts = {
            name: part[rows]
            for name in ("reference", "low_loss", "noise")
            if (part := getattr(self, name)) is not None
        }
        return replace(self, mu=self.mu[rows], **parts)

    def one(self, k: int) -> Spectrum:
        """Return the k-th spectrum."""
        return Spectrum(
            energy=self.energy,
            mu=np.asarray(self.mu[k], np.float64),
            technique=self.technique,
            absorber=self.absorber,
            edge=self.edge,
            reference=None if self.reference is None else self.reference[k],
            low_loss_energy=self.low_loss_energy,
            low_loss=None if self.low_loss is None else self.low_loss[k],
            complete=self.complete,
            flags=self.flags,
            formula=self.formula,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NormalisedSpectra:
    """What became of `Spectra`; numbers of a rejected spectrum are NaN.

    Attributes
    ----------
    energy
        (n,) eV, strictly increasing, as measured: without ``energy_shift``.
    norm, flat
        (p, n) as in `nearedge.models.spectrum.NormalisedSpectrum`, NaN at energies that were left
        out of a spectrum, such as glitches.
    e0, edge_step, edge_step_error
        (p,) edge energy (eV, shift included), height of the edge and its standard deviation.
    energy_shift
        (p,) eV added to the measured energies.
    flags
        The flags of each spectrum.
    rejected
        Why the others could not be normalised, by number.
    alone
        Spectra that were normalised by themselves, by number: those that differ from the rest.
    technique, absorber, edge, complete
        What all of them share.
    elements
        Symbols of what is in the sample, sorted; empty where not known.
    """

    energy: Array
    norm: Array
    flat: Array
    e0: Array
    edge_step: Array
    edge_step_error: Array
    energy_shift: Array
    flags: tuple[tuple[str, ...], ...]
    technique: Technique
    absorber: str
    edge: str
    complete: bool = True
    rejected: Mapping[int, Rejected] = field(default_factory=dict)
    alone: Mapping[int, NormalisedSpectrum] = field(default_factory=dict)
    elements: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        freeze_arrays(self)

    def __len__(self) -> int:
        return len(self.flat)

    @property
    def good(self) -> NDArray[np.bool_]:
        """Which were normalised, (p,)."""
        out = np.ones(len(self), dtype=bool)
        out[list(self.rejected)] = False
        return out
