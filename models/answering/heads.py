"""Answers of the descriptor heads alone, for thousands of spectra in one product of matrices.

No cluster is drawn, so that there is no misfit: the out-of-distribution score is the distance
alone, and CN, bond and angle are what the networks expect. Their calibration is one of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nearedge.models.answering.card import Card
from nearedge.models.answering.estimate import (
    OF_A_BOND,
    OF_AN_ANGLE,
    OF_CN,
    STATED_CN_CLASSES,
    Bounds,
    Calibration,
    Widening,
)
from nearedge.models.many_spectra import NormalisedSpectra
from nearedge.models.parts.many_conditions import Conditions, conditions
from nearedge.models.spectrum import Array, Reason, Rejected, freeze_arrays

#: Flag of an answer for which no cluster was drawn.
HEADS_ONLY = "heads-only"
OUTLIER = "out-of-distribution"
#: For cards that hold no calibration of the heads, as a rule of thumb.
UNFITTED = Calibration(head_weight=1.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heads:
    """What a model's heads say of a batch, before any calibration.

    Attributes
    ----------
    cn
        (p, k) probabilities of CN = 0 … k-1.
    bond, bond_spread
        (p,) mean first-shell distance and its standard deviation, Å.
    cosine, cosine_spread
        (p,) mean cosine of the bond angles and its standard deviation.
    distance
        (p,) from what the model learned.
    threshold
        Distance above which a spectrum is unlike that.
    calibration
        The calibration of the heads.
    model
        Digest of the weights.
    species
        The elements that the model knows as neighbours.
    """

    cn: Array
    bond: Array
    bond_spread: Array
    cosine: Array
    cosine_spread: Array
    distance: Array
    threshold: float
    calibration: Calibration
    model: str
    species: tuple[str, ...]


def head_calibration(card: Card) -> Calibration:
    """Return the calibration of a model's heads: its card's, or a rule of thumb."""
    stored = card.calibration.get("heads")
    return UNFITTED if stored is None else Calibration.from_dict(stored)


class Reads(Protocol):
    """A model whose heads can be asked."""

    def heads(
        self, read: Conditions, *, absorber: str, edge: str, elements: tuple[str, ...]
    ) -> Heads:
        """Return what the heads say of spectra of one edge.

        Raises
        ------
        ValueError
            If the model doesn't support the edge.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadAnswers:
    """Figures of many spectra; NaN where a spectrum was rejected.

    Attributes
    ----------
    cn_prob
        (p, 13) probability that a site has CN = 0 … 12.
    cn_mean, cn_mean_lo, cn_mean_hi
        (p,) mean CN over the sites that were measured, and its 90 % interval.
    bond, bond_lo, bond_hi, angle, angle_lo, angle_hi
        (p,) mean first-shell distance, Å, and angle of the mean cosine between bonds, degrees,
        with their 90 % intervals.
    ood_score, ood_flag
        (p,) how far each lies from what the model learned, and whether that is too far.
    flags
        The flags of each spectrum.
    rejected
        Why there is no answer, by number.
    condition, mask, origin
        (p, g) what the model read, (p, g) where it was measured, and (p,) where the grid counts
        from, eV from e0.
    model
        Digest of the weights; empty where nothing was read.
    """

    cn_prob: Array
    cn_mean: Array
    cn_mean_lo: Array
    cn_mean_hi: Array
    bond: Array
    bond_lo: Array
    bond_hi: Array
    angle: Array
    angle_lo: Array
    angle_hi: Array
    ood_score: Array
    ood_flag: NDArray[np.bool_]
    flags: tuple[tuple[str, ...], ...]
    rejected: dict[int, Rejected]
    condition: Array
    mask: Array
    origin: Array
    model: str

    def __post_init__(self) -> None:
        freeze_arrays(self)

    def __len__(self) -> int:
        return len(self.cn_mean)


def answer_all(
    model: Reads,
    spectra: NormalisedSpectra,
    *,
    span: Sequence[float],
) -> HeadAnswers:
    """Answer every normalised spectrum by the heads.

    Parameters
    ----------
    model
        Loaded.
    spectra
        Normalised.
    span
        The grid that the model reads.

    Raises
    ------
    ValueError
        If the model doesn't support the edge.
    """
    read = conditions(spectra, span=span)
    rejected = dict(spectra.rejected)
    rejected |= {
        k: Rejected(reason=Reason.TOO_SHORT, detail=why) for k, why in read.refused.items()
    }
    found = model.heads(
        read, absorber=spectra.absorber, edge=spectra.edge, elements=spectra.elements
    )
    count, rows = len(spectra), read.rows

    def spread_out(values: Array) -> Array:
        out = np.full((count, *values.shape[1:]), np.nan)
        out[rows] = values
        return out

    unusual = np.zeros(count, dtype=bool)
    unusual[rows] = found.distance > found.threshold
    foreign = " ".join(sorted({*spectra.elements} - {*found.species, spectra.absorber, "H"}))
    more = (*([f"other-elements: {foreign}"] if foreign else []), HEADS_ONLY)
    return HeadAnswers(
        **{name: spread_out(values) for name, values in calibrated(found).items()},
        ood_score=spread_out(found.distance),
        ood_flag=unusual,
        flags=tuple(
            () if k in rejected else _flags(own, unusual=bool(unusual[k]), more=more)
            for k, own in enumerate(spectra.flags)
        ),
        rejected=rejected,
        condition=spread_out(np.asarray(read.values, np.float64)),
        mask=spread_out(np.asarray(read.mask, np.float64)),
        origin=spread_out(read.origin),
        model=found.model,
    )


def _flags(own: tuple[str, ...], *, unusual: bool, more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*own, *((OUTLIER,) if unusual else ()), *more)))


def calibrated(found: Heads) -> dict[str, Array]:
    """Return the figures that the heads' calibration makes, by their names in `HeadAnswers`."""
    prob = cn_probabilities(found.cn, found.bond_spread, found.calibration)
    classes = np.arange(prob.shape[1])
    mean = prob @ classes
    spread = np.sqrt((prob * (classes - mean[:, None]) ** 2).sum(axis=1))
    angle = np.degrees(np.arccos(np.clip(found.cosine, -1.0, 1.0)))
    own = found.calibration
    return {
        "cn_prob": prob,
        **_intervals("cn_mean", mean, own.cn_mean, spread, OF_CN),
        **_intervals("bond", found.bond, own.bond, found.bond_spread, OF_A_BOND),
        **_intervals("angle", angle, own.angle, np.degrees(found.cosine_spread), OF_AN_ANGLE),
    }


def cn_probabilities(cn: Array, spread: Array, calibration: Calibration) -> Array:
    """Return the stated probabilities (p, 13) for those of a head (p, k).

    As `nearedge.models.answering.estimate.cn_distribution` does with the head alone.

    Parameters
    ----------
    cn
        (p, k) probabilities of CN = 0 … k-1.
    spread
        (p,) standard deviation of the bond, Å.
    calibration
        The calibration of the heads.
    """
    prob = np.zeros((len(cn), STATED_CN_CLASSES))
    inside = min(cn.shape[1], STATED_CN_CLASSES)
    prob[:, :inside] = cn[:, :inside]
    prob[:, -1] += cn[:, inside:].sum(axis=1)
    doubt = (np.maximum(spread, 1e-4) / calibration.usual) ** calibration.doubt
    power = 1 / (calibration.temperature * doubt)
    sharpened = (prob / prob.max(axis=1, keepdims=True)) ** power[:, None]
    return np.asarray(sharpened / sharpened.sum(axis=1, keepdims=True))


def _intervals(
    name: str, mean: Array, widening: Widening, spread: Array, within: Bounds
) -> dict[str, Array]:
    mean, half = np.clip(mean, within.lo, within.hi), widening.half(spread)
    return {
        name: mean,
        f"{name}_lo": np.maximum(mean - half, within.lo),
        f"{name}_hi": np.minimum(mean + half, within.hi),
    }
