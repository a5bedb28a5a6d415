"""What an inversion answers: sampled clusters and the estimates drawn from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nearedge.models.spectrum import Array, NormalisedSpectrum, freeze_arrays


class Quality(StrEnum):
    """How much work one answer is worth."""

    FAST = "fast"
    DEFAULT = "default"
    THOROUGH = "thorough"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """Clusters drawn for one spectrum, the absorber at the origin and not listed.

    Attributes
    ----------
    species
        (samples, atoms) chemical symbols, nearest atom first.
    positions
        (samples, atoms, 3) Å.
    weights
        (samples,) sum to 1.
    """

    species: NDArray[np.str_]
    positions: NDArray[np.float32]
    weights: Array

    def __post_init__(self) -> None:
        freeze_arrays(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean and the central interval that should hold the truth nine times in ten."""

    mean: float
    lo: float
    hi: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimates:
    """Figures drawn from the samples, calibrated on held-out families.

    Attributes
    ----------
    cn_prob
        (k,) probability that a site has CN = 0, 1, … k-1; sums to 1.
    cn_mean, cn_map
        Mean CN over the sites that were measured, and the most probable CN of one of them.
    cn_mean_lo, cn_mean_hi
        The 90 % interval of ``cn_mean``; None where an older version answered.
    cn_set
        The integers of the 90 % prediction set of a site, ascending.
    bond, angle, bridge
        Mean first-shell distance (Å), mean bond angle at the absorber (degrees), and for an
        absorber bridged by the other species the mean second-shell figure (see docs/accuracy.md).
        None where the samples define none.
    sample_cn, sample_bond, sample_angle
        (samples,) the same per sample; NaN where undefined.
    rdf_r
        (m,) Å.
    rdf
        For each neighbour species (m,) atoms per Å, averaged over samples.
    """

    cn_prob: Array
    cn_mean: float
    cn_map: int
    cn_set: tuple[int, ...]
    bond: Interval | None
    angle: Interval | None
    bridge: Interval | None
    sample_cn: NDArray[np.int64]
    sample_bond: Array
    sample_angle: Array
    rdf_r: Array
    rdf: dict[str, Array]
    cn_mean_lo: float | None = None
    cn_mean_hi: float | None = None

    def __post_init__(self) -> None:
        freeze_arrays(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inversion:
    """The answer to one spectrum.

    Attributes
    ----------
    absorber, edge
        The absorber and the edge whose surroundings these are.
    samples, estimates
        The clusters and the figures drawn from them.
    grid, condition
        (g,) eV from e0 and (g,) what the model read there, NaN where nothing was measured.
    ood_score, ood_flag
        How far the spectrum lies from what the model learned, and whether that is too far.
    misfit
        Root-mean-square difference, in edge steps, between the spectrum and the one that its
        clusters imply; None where the model has no forward part.
    usual_misfit
        Between which misfits eight in ten answers about held-out structures lie, edge steps; None
        where that is not known.
    model
        Digest of the weights.
    seed, quality
        What makes the same answer again.
    seconds
        Wall-clock time of the inversion.
    flags
        Short words for the reader: ``out-of-distribution``, ``partial`` …
    implied
        (g,) the spectrum that the clusters imply, on ``grid``; None where the model has no
        forward part.
    """

    absorber: str
    edge: str
    samples: Samples
    estimates: Estimates
    grid: Array
    condition: Array
    ood_score: float
    ood_flag: bool
    misfit: float | None
    model: str
    seed: int
    quality: Quality
    seconds: float
    flags: tuple[str, ...] = ()
    implied: Array | None = None
    usual_misfit: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        freeze_arrays(self)


class Inverts(Protocol):
    """A loaded model, or several: spectra in, inversions out."""

    def invert(
        self,
        spectra: Sequence[NormalisedSpectrum],
        *,
        seeds: Sequence[int],
        samples: int,
        quality: Quality,
    ) -> list[Inversion]:
        """Return one inversion per spectrum.

        Parameters
        ----------
        spectra
            Normalised, of edges that the model supports.
        seeds
            One for each spectrum.
        samples
            Clusters per spectrum.
        quality
            How much work each answer is worth.
        """
        ...
