"""From sampled clusters to figures with calibrated uncertainty.

The calibration is a handful of numbers fitted on held-out families
(`nearedge.models.training.uncertainty`): how far to trust the samples' coordination numbers, and
how wide an interval must be to hold the truth nine times in ten.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from nearedge.models.clusters import geometry
from nearedge.models.inversion import Estimates, Interval, Samples
from nearedge.models.spectrum import Array

#: Coordination numbers 0 … 12 that an answer states, as its clusters may have them; what lies above
#: counts as 12.
STATED_CN_CLASSES = 13
#: Probabilities that differ by no more than this are equal.
TIE = 1e-9


#: Expected scatter of the sites below which a spectrum counts as one of sites of one kind, and
#: above which it counts as an average over unlike ones (`nearedge.models.answering.explained`).
ONE_KIND, MANY_KINDS = 0.5, 0.8


@dataclass(frozen=True, slots=True)
class Bounds:
    """What no value of a figure lies outside of."""

    lo: float = 0.0
    hi: float = math.inf

    def cut(self, mean: float, half: float) -> Interval:
        """Return the interval around a mean, without what lies outside of the bounds.

        The truth never lies there, so that the interval holds it as often as before.
        """
        mean = min(max(mean, self.lo), self.hi)
        return Interval(mean=mean, lo=max(mean - half, self.lo), hi=min(mean + half, self.hi))


ANY = Bounds(-math.inf)
#: Å. No two atoms are bonded closer than those of hydrogen's molecule, 0.74 Å.
OF_A_BOND = Bounds(0.5)
#: Degrees.
OF_AN_ANGLE = Bounds(0.0, 180.0)
#: Coordination numbers have no upper end that nature knows of.
OF_CN = Bounds(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Widening:
    """Half-width of an interval: ``scale`` (spread + ``floor``) ^ ``power``.

    The spread is the head's where it states one, else the samples'.
    """

    scale: float
    floor: float
    power: float = 1.0

    def half(self, spread: Array | float) -> Array:
        """Return the half-widths for spreads."""
        return np.asarray(self.scale * (spread + self.floor) ** self.power)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """What a model's descriptor head says of a cluster.

    Attributes
    ----------
    cn
        (k,) probabilities of CN = 0 … k-1.
    bond, angle
        Standard deviations of the mean bond (Å) and of the mean angle (degrees).
    shares
        (k,) shares of CN = 0 … k-1 in what was measured, from what learned averages; None where the
        model has no such part, or the scan is not complete.
    scatter
        How far the sites are expected to scatter; 1 is as all sites do.
    """

    cn: Array
    bond: float
    angle: float
    shares: Array | None = None
    scatter: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Numbers that make stated uncertainty true, stored as JSON in the model card.

    Attributes
    ----------
    level
        Share of truths that sets and intervals should hold.
    head_weight
        Share of the descriptor head in the CN distribution; the rest are the samples.
    spill
        How likely, against the CN of a sample, is a CN one higher or lower; two away, its square.
    temperature
        Above 1 flattens the CN distribution, below 1 sharpens it.
    doubt, usual
        The temperature is multiplied by (the head's spread of the bond / ``usual``) ^ ``doubt``:
        spectra that say little of the bond say little of the CN.
    cn_threshold
        Cumulated probability up to which classes enter the prediction set.
    shares_weight
        Share of the head's ``shares`` in the mean CN of a mixture; the rest is the CN distribution,
        which has all where the sites are not expected to scatter.
    cn_mean
        Widening of the interval of the mean CN.
    cn_mean_of
        The same by absorber, for those that have their own.
    bond, angle, bridge
        Widenings of the intervals, fitted on Å, degrees, and Å or degrees.
    """

    level: float = 0.9
    head_weight: float = 0.5
    spill: float = 0.02
    temperature: float = 1.0
    doubt: float = 0.0
    usual: float = 0.05
    cn_threshold: float = 0.9
    shares_weight: float = 0.0
    cn_mean: Widening = Widening(scale=1.645, floor=0.1)
    cn_mean_of: dict[str, Widening] = field(default_factory=dict)
    bond: Widening = Widening(scale=1.645, floor=0.002)
    angle: Widening = Widening(scale=1.645, floor=0.5)
    bridge: Widening = Widening(scale=1.645, floor=0.01)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain ones, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, numbers: dict[str, Any]) -> "Calibration":
        """Read back what `to_dict` gave."""
        values: dict[str, Any] = {
            name: Widening(**value) if isinstance(value, dict) else value
            for name, value in numbers.items()
            if name != "cn_mean_of"
        }
        own = {one: Widening(**value) for one, value in numbers.get("cn_mean_of", {}).items()}
        return cls(**values, cn_mean_of=own)

    def of_mean(self, absorber: str) -> Widening:
        """Return the widening of the interval of the mean CN around an absorber."""
        return self.cn_mean_of.get(absorber, self.cn_mean)


def estimate(
    samples: Samples,
    *,
    absorber: str,
    calibration: Calibration,
    head: Head | None = None,
    vocabulary: Sequence[str] | None = None,
) -> Estimates:
    """Return the figures of the sampled clusters, with calibrated sets and intervals.

    Parameters
    ----------
    samples
        Clusters drawn for one spectrum.
    absorber
        Symbol of the absorber.
    calibration
        Fitted on held-out families.
    head
        What a descriptor head says, or None where the model has none.
    vocabulary
        Species whose radial distributions are given; those of the samples where None.
    """
    cluster = (absorber, samples.species, samples.positions)
    cn = geometry.coordination(*cluster)
    bond, angle = geometry.mean_bond(*cluster), geometry.mean_angle(*cluster)
    told = (head.bond, head.angle) if head else (None, None)
    prob = cn_distribution(cn, samples.weights, calibration=calibration, head=head)
    averaged = averaged_distribution(prob, calibration=calibration, head=head)
    average = mean_interval(averaged, calibration.of_mean(absorber))
    r = geometry.rdf_grid()
    species = vocabulary or sorted({str(s) for s in np.unique(samples.species) if s})
    return Estimates(
        cn_prob=prob,
        cn_mean=average.mean,
        cn_mean_lo=average.lo,
        cn_mean_hi=average.hi,
        cn_map=int(prob.argmax()),
        cn_set=prediction_set(prob, threshold=calibration.cn_threshold),
        bond=interval(bond, samples.weights, calibration.bond, told=told[0], within=OF_A_BOND),
        angle=interval(angle, samples.weights, calibration.angle, told=told[1], within=OF_AN_ANGLE),
        bridge=interval(
            geometry.bridge(*cluster),
            samples.weights,
            calibration.bridge,
            within=OF_AN_ANGLE if absorber in geometry.BRIDGING else OF_A_BOND,
        ),
        sample_cn=cn,
        sample_bond=bond,
        sample_angle=angle,
        rdf_r=r,
        rdf=geometry.radial_distribution(
            samples.species, samples.positions, vocabulary=species, r=r, weights=samples.weights
        ),
    )


def _sample_share(cn: np.ndarray, weights: Array, spill: float) -> Array:
    classes = np.arange(STATED_CN_CLASSES)
    counted = np.bincount(
        np.minimum(cn, STATED_CN_CLASSES - 1), weights, minlength=STATED_CN_CLASSES
    )
    blur = spill ** np.abs(classes[:, None] - classes)
    return np.asarray((blur / blur.sum(0)) @ counted)


def _to_classes(head: Array) -> Array:
    out = np.zeros(STATED_CN_CLASSES)
    inside = min(len(head), STATED_CN_CLASSES)
    out[:inside] = head[:inside]
    out[-1] += head[inside:].sum()
    return np.asarray(out / out.sum())


def cn_distribution(
    cn: np.ndarray, weights: Array, *, calibration: Calibration, head: Head | None = None
) -> Array:
    """Return the probability of CN = 0 … 12 from the samples, blended with that of a head.

    Parameters
    ----------
    cn, weights
        (samples,) coordination numbers, and weights that sum to 1.
    head
        What a descriptor head says, or None.
    """
    prob, temperature = _sample_share(cn, weights, calibration.spill), calibration.temperature
    if head is not None:
        share = calibration.head_weight
        prob = (1 - share) * prob + share * _to_classes(head.cn)
        temperature *= (max(head.bond, 1e-4) / calibration.usual) ** calibration.doubt
    sharpened = (prob / prob.max()) ** (1 / temperature)
    return np.asarray(sharpened / sharpened.sum())


def _mixed(scatter: float) -> float:
    """Say how surely unlike sites were averaged, by how far they are expected to scatter."""
    return min(max((scatter - ONE_KIND) / (MANY_KINDS - ONE_KIND), 0.0), 1.0)


def averaged_distribution(
    prob: Array, *, calibration: Calibration, head: Head | None = None
) -> Array:
    """Return the distribution over the CN of the sites that were averaged, whose mean is stated.

    Parameters
    ----------
    prob
        Probability of CN = 0 … 12 of a site.
    calibration, head
        As in `estimate`.
    """
    if head is None or head.shares is None:
        return prob
    weight = calibration.shares_weight * _mixed(head.scatter)
    return np.asarray((1 - weight) * prob + weight * _to_classes(head.shares))


def mean_interval(prob: Array, widening: Widening) -> Interval:
    """Return the mean CN and the interval that holds the mean over the sites that were measured."""
    mean, spread = cn_moments(prob)
    return OF_CN.cut(mean, float(widening.half(spread)))


def cn_moments(prob: Array) -> tuple[float, float]:
    """Return the mean and standard deviation of a distribution over CN."""
    classes = np.arange(len(prob))
    mean = float(prob @ classes)
    return mean, float(np.sqrt(prob @ (classes - mean) ** 2))


def cumulated(prob: Array) -> Array:
    """Return the probability of the range that first holds each class, from the likeliest on.

    The range grows by the likelier of its two neighbours, so that a set of coordination numbers
    has no holes. It never stops before a class that is as likely as one that it holds, so that no
    tie is cut. This is the APS score of Romano, Sesia & Candès (NeurIPS 2020) for ordered classes,
    without the randomisation, so that the same spectrum always gets the same set.
    """
    lo = hi = int(prob.argmax())
    entered = [lo]
    while hi - lo + 1 < len(prob):
        down = hi + 1 == len(prob) or (lo > 0 and prob[lo - 1] >= prob[hi + 1])
        lo, hi = (lo - 1, hi) if down else (lo, hi + 1)
        entered.append(lo if down else hi)
    grown = prob[entered]
    left = np.append(np.maximum.accumulate(grown[:0:-1])[::-1], -np.inf)
    stops = left < np.minimum.accumulate(grown) - TIE
    held = np.cumsum(grown)[stops]
    out = np.empty_like(prob)
    out[entered] = held[np.searchsorted(np.flatnonzero(stops), np.arange(len(prob)))]
    return out


def prediction_set(prob: Array, *, threshold: float) -> tuple[int, ...]:
    """Return the classes whose cumulated probability stays within the threshold; never empty.

    Examples
    --------
    >>> prediction_set(np.array([0.0, 0.05, 0.15, 0.8]), threshold=0.96)
    (2, 3)
    >>> prediction_set(np.array([0.0, 0.5, 0.5, 0.0]), threshold=0.9)
    (1, 2)
    """
    scores = cumulated(prob)
    likeliest = (scores == scores[prob.argmax()]) & (prob > 0)
    chosen = (scores <= threshold + TIE) | likeliest
    return tuple(int(k) for k in np.flatnonzero(chosen))


def mean_and_spread(values: Array, weights: Array) -> tuple[float, float] | None:
    """Return the weighted mean and standard deviation of what is defined; None where nothing is."""
    known = ~np.isnan(values) & (weights > 0)
    if not known.any():
        return None
    shares = weights[known] / weights[known].sum()
    mean = float(shares @ values[known])
    return mean, float(np.sqrt(shares @ (values[known] - mean) ** 2))


def interval(
    values: Array,
    weights: Array,
    widening: Widening,
    *,
    told: float | None = None,
    within: Bounds = ANY,
) -> Interval | None:
    """Return the weighted mean and its interval; None where no sample defines the figure.

    Parameters
    ----------
    values, weights
        (samples,) of the figure, NaN where undefined.
    widening
        How wide the interval is.
    told
        Spread to take instead of the samples' own.
    within
        What the figure never lies outside of.
    """
    found = mean_and_spread(values, weights)
    if found is None:
        return None
    mean, spread = found
    return within.cut(mean, float(widening.half(spread if told is None else told)))
