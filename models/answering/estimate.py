"""From sampled clusters to figures with calibrated uncertainty.

The calibration is a handful of numbers fitted on held-out families (`fit_calibration`): how far to
trust the samples' coordination numbers, and how wide an interval must be to hold the truth nine
times in ten.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from nearedge.models.clusters import geometry
from nearedge.models.data.dataset import Site
from nearedge.models.inversion import Estimates, Interval, Samples
from nearedge.models.spectrum import Array

Figure: TypeAlias = Callable[[str, np.ndarray, np.ndarray], Array]

#: Coordination numbers 0 … 12; what lies above counts as 12.
CN_CLASSES = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Widening:
    """Half-width of an interval: ``scale`` (spread + ``floor``) ^ ``power``.

    The spread is the head's where it states one, else the samples'.
    """

    scale: float
    floor: float
    power: float = 1.0

    def half(self, spread: Array | float) -> Array:
        """Half-widths for spreads."""
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
    """

    cn: Array
    bond: float
    angle: float


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
    bond: Widening = Widening(scale=1.645, floor=0.002)
    angle: Widening = Widening(scale=1.645, floor=0.5)
    bridge: Widening = Widening(scale=1.645, floor=0.01)

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, numbers: dict[str, Any]) -> "Calibration":
        """Read back what `to_dict` gave."""
        values: dict[str, Any] = {
            name: Widening(**value) if isinstance(value, dict) else value
            for name, value in numbers.items()
        }
        return cls(**values)


def estimate(
    samples: Samples,
    *,
    absorber: str,
    calibration: Calibration,
    head: Head | None = None,
    vocabulary: Sequence[str] | None = None,
) -> Estimates:
    """Figures of the sampled clusters, with calibrated sets and intervals.

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
    prob = cn_distribution(cn, samples.weights, calibration=calibration, head=head)
    r = geometry.rdf_grid()
    species = vocabulary or sorted({str(s) for s in np.unique(samples.species) if s})
    return Estimates(
        cn_prob=prob,
        cn_mean=float(prob @ np.arange(len(prob))),
        cn_map=int(prob.argmax()),
        cn_set=prediction_set(prob, threshold=calibration.cn_threshold),
        bond=interval(bond, samples.weights, calibration.bond, told=head and head.bond),
        angle=interval(angle, samples.weights, calibration.angle, told=head and head.angle),
        bridge=interval(geometry.bridge(*cluster), samples.weights, calibration.bridge),
        sample_cn=cn,
        sample_bond=bond,
        sample_angle=angle,
        rdf_r=r,
        rdf=geometry.radial_distribution(
            samples.species, samples.positions, vocabulary=species, r=r, weights=samples.weights
        ),
    )


def _sample_share(cn: np.ndarray, weights: Array, spill: float) -> Array:
    classes = np.arange(CN_CLASSES)
    counted = np.bincount(np.minimum(cn, CN_CLASSES - 1), weights, minlength=CN_CLASSES)
    blur = spill ** np.abs(classes[:, None] - classes)
    return np.asarray((blur / blur.sum(0)) @ counted)


def _to_classes(head: Array) -> Array:
    out = np.zeros(CN_CLASSES)
    inside = min(len(head), CN_CLASSES)
    out[:inside] = head[:inside]
    out[-1] += head[inside:].sum()
    return np.asarray(out / out.sum())


def cn_distribution(
    cn: np.ndarray, weights: Array, *, calibration: Calibration, head: Head | None = None
) -> Array:
    """Probability of CN = 0 … 12 from the samples' CN, blended with a head's probabilities.

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


def cumulated(prob: Array) -> Array:
    """For each class the probability of the range that first holds it, grown from the likeliest.

    The range grows by the likelier of its two neighbours, so that a set of coordination numbers
    has no holes. This is the APS score of Romano, Sesia & Candès (NeurIPS 2020) for ordered
    classes, without the randomisation, so that the same spectrum always gets the same set.
    """
    out = np.empty_like(prob)
    lo = hi = int(prob.argmax())
    held = out[lo] = prob[lo]
    while hi - lo + 1 < len(prob):
        down = hi + 1 == len(prob) or (lo > 0 and prob[lo - 1] >= prob[hi + 1])
        lo, hi = (lo - 1, hi) if down else (lo, hi + 1)
        entered = lo if down else hi
        held = out[entered] = held + prob[entered]
    return out


def prediction_set(prob: Array, *, threshold: float) -> tuple[int, ...]:
    """Classes whose cumulated probability stays within the threshold; never empty.

    Examples
    --------
    >>> prediction_set(np.array([0.0, 0.05, 0.15, 0.8]), threshold=0.96)
    (2, 3)
    """
    chosen = cumulated(prob) <= threshold + 1e-12
    chosen[prob.argmax()] = True
    return tuple(int(k) for k in np.flatnonzero(chosen))


def _mean_and_spread(values: Array, weights: Array) -> tuple[float, float] | None:
    known = ~np.isnan(values) & (weights > 0)
    if not known.any():
        return None
    shares = weights[known] / weights[known].sum()
    mean = float(shares @ values[known])
    return mean, float(np.sqrt(shares @ (values[known] - mean) ** 2))


def interval(
    values: Array, weights: Array, widening: Widening, *, told: float | None = None
) -> Interval | None:
    """Weighted mean and its interval; None where no sample defines the figure.

    Parameters
    ----------
    values, weights
        (samples,) of the figure, NaN where undefined.
    widening
        How wide the interval is.
    told
        Spread to take instead of the samples' own.
    """
    found = _mean_and_spread(values, weights)
    if found is None:
        return None
    mean, spread = found
    half = float(widening.half(spread if told is None else told))
    return Interval(mean=mean, lo=mean - half, hi=mean + half)


def conformal_quantile(scores: Array, *, level: float, weights: Array | None = None) -> float:
    """Quantile of held-out scores that a new score stays below with the stated probability.

    The ceil((n + 1) level)-th smallest (Vovk et al. 2005), or its counterpart for weighted scores
    (Tibshirani et al., NeurIPS 2019); the largest where there are too few.

    Parameters
    ----------
    scores
        (n,) of held-out answers.
    level
        Share of new scores that should stay below.
    weights
        (n,) what each counts; the new one counts their mean. Equal where None.
    """
    weights = np.ones(len(scores)) if weights is None else weights / weights.mean()
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(weights[order]) >= (len(scores) + 1) * level - 1e-9
    return float(scores[order[int(reached.argmax()) if reached.any() else -1]])


def even_weights(sites: Sequence[Site]) -> Array:
    """Weights (sites,) that make groups of structures count alike, however many sites each has."""
    counts = Counter(site.group for site in sites)
    return np.array([1 / counts[site.group] for site in sites])


_SPILLS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
_TEMPERATURES = (0.6, 0.8, 1.0, 1.25, 1.6, 2.0)
_DOUBTS = (0.0, 0.5, 1.0, 1.5)
_HEAD_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
_FLOORS = (0.02, 0.1, 0.25, 0.5, 1.0)  # in units of the median spread
_POWERS = (1.0, 1.5, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Counted:
    """One answer's coordination numbers beside the true one."""

    cn: np.ndarray
    weights: Array
    head: Head | None
    truth: int
    weight: float

    def prob(self, calibration: Calibration) -> Array:
        return cn_distribution(self.cn, self.weights, calibration=calibration, head=self.head)


def _count(
    samples: Sequence[Samples], sites: Sequence[Site], heads: Sequence[Head | None]
) -> list[_Counted]:
    return [
        _Counted(
            cn=geometry.coordination(site.absorber, answer.species, answer.positions),
            weights=answer.weights,
            head=head,
            truth=min(site.cn, CN_CLASSES - 1),
            weight=weight,
        )
        for answer, site, head, weight in zip(
            samples, sites, heads, even_weights(sites), strict=True
        )
        if site.cn > 0
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """How a blend does on answers whose truth is known: log-likelihood and error of the mean CN."""

    blend: Calibration
    loss: float
    uncertainty: float
    error: float


def _try(counted: Sequence[_Counted], blend: Calibration) -> _Trial:
    prob = np.array([one.prob(blend) for one in counted])
    truth = np.array([one.truth for one in counted])
    weights = np.array([one.weight for one in counted])
    weights = weights / weights.sum()
    losses = -np.log(np.maximum(prob[np.arange(len(prob)), truth], 1e-9))
    loss = float(weights @ losses)
    return _Trial(
        blend=blend,
        loss=loss,
        uncertainty=float(np.sqrt((weights**2) @ (losses - loss) ** 2)),
        error=float(weights @ np.abs(prob @ np.arange(CN_CLASSES) / truth - 1)),
    )


def _fit_blend(counted: Sequence[_Counted], start: Calibration) -> Calibration:
    """Return the CN blend whose mean errs least among those as likely as the likeliest.

    That is within one standard error of its likelihood (Breiman et al. 1984).
    """
    heads = [one.head for one in counted if one.head is not None]
    if heads:
        start = replace(start, usual=float(np.median([head.bond for head in heads])))
    shares, doubts = (_HEAD_WEIGHTS, _DOUBTS) if heads else ((0.0,), (0.0,))
    trials = [
        _try(counted, replace(start, head_weight=w, spill=s, temperature=t, doubt=d))
        for w, s, t, d in product(shares, _SPILLS, _TEMPERATURES, doubts)
    ]
    best = min(trials, key=lambda trial: trial.loss)
    alike = [trial for trial in trials if trial.loss <= best.loss + best.uncertainty]
    return min(alike, key=lambda trial: trial.error).blend


def _fit_threshold(counted: Sequence[_Counted], blend: Calibration) -> float:
    """Return the threshold at which sets, which always hold the likeliest class, cover."""
    scores = []
    for one in counted:
        prob = one.prob(blend)
        scores.append(0.0 if one.truth == prob.argmax() else cumulated(prob)[one.truth])
    weights = np.array([one.weight for one in counted])
    return conformal_quantile(np.array(scores), level=blend.level, weights=weights)


def _fit_widening(
    figure: Figure,
    samples: Sequence[Samples],
    sites: Sequence[Site],
    told: Sequence[float | None],
    start: Widening,
    level: float,
) -> Widening:
    """Return the widening that covers at the level, groups alike, with the narrowest intervals.

    Narrowest in the mean logarithm: a few hopeless spectra must not decide on how wide the
    intervals of the others are.
    """
    found = []
    for answer, site, spread, weight in zip(samples, sites, told, even_weights(sites), strict=True):
        truth = float(figure(site.absorber, site.species, site.positions))
        values = figure(site.absorber, answer.species, answer.positions)
        drawn = _mean_and_spread(values, answer.weights)
        if drawn is not None and np.isfinite(truth):
            found.append((abs(drawn[0] - truth), drawn[1] if spread is None else spread, weight))
    if not found:
        return start
    error, spreads, weights = np.array(found).T
    unit = max(float(np.median(spreads)), start.floor)
    trials = []
    for floor, power in product(_FLOORS, _POWERS):
        shape = Widening(scale=1.0, floor=floor * unit, power=power)
        scale = conformal_quantile(error / shape.half(spreads), level=level, weights=weights)
        trials.append(replace(shape, scale=scale))
    return min(trials, key=lambda w: float(np.log(np.maximum(w.half(spreads), 1e-9)).mean()))


def fit_calibration(
    samples: Sequence[Samples],
    sites: Sequence[Site],
    *,
    heads: Sequence[Head | None] | None = None,
    level: float = 0.9,
) -> Calibration:
    """Fit the calibration on answers whose truth is known.

    Parameters
    ----------
    samples, sites
        The answers and their true sites, of held-out families and of every input condition that
        the stated uncertainty should hold for.
    heads
        For each answer what the descriptor head says.
    level
        Share of truths that sets and intervals should hold.

    Raises
    ------
    ValueError
        If there is no answer, or answers and sites differ in number.
    """
    if not samples or len(samples) != len(sites):
        raise ValueError(
            f"found {len(samples)} answers for {len(sites)} sites; a calibration needs one each"
        )
    start = Calibration(level=level)
    said = list(heads or [None] * len(samples))
    counted = _count(samples, sites, said)
    blend = _fit_blend(counted, start) if counted else start

    def widening(figure: Figure, told: Sequence[float | None], first: Widening) -> Widening:
        return _fit_widening(figure, samples, sites, told, first, level)

    return replace(
        blend,
        cn_threshold=_fit_threshold(counted, blend) if counted else start.cn_threshold,
        bond=widening(geometry.mean_bond, [head and head.bond for head in said], start.bond),
        angle=widening(geometry.mean_angle, [head and head.angle for head in said], start.angle),
        bridge=widening(geometry.bridge, [None] * len(said), start.bridge),
    )
