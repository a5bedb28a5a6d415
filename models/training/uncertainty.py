"""Fit the calibration that makes stated uncertainty true, on answers whose truth is known."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeAlias

import numpy as np

from nearedge.models.answering.estimate import (
    STATED_CN_CLASSES,
    Calibration,
    Head,
    Widening,
    cn_distribution,
    cn_moments,
    cumulated,
    mean_and_spread,
)
from nearedge.models.clusters import geometry
from nearedge.models.data.dataset import Site
from nearedge.models.inversion import Samples
from nearedge.models.spectrum import Array

Figure: TypeAlias = Callable[[str, np.ndarray, np.ndarray], Array]

_SPILLS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
_TEMPERATURES = (0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.6)
_DOUBTS = (0.0, 0.5, 1.0, 1.5)
_HEAD_WEIGHTS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
#: The error of the mean that a likelier blend may have, in units of the least one.
_TOLERATED = 1.02
_FLOORS = (0.02, 0.1, 0.25, 0.5, 1.0)  # in units of the median spread
_POWERS = (1.0, 1.5, 2.0)


def conformal_quantile(scores: Array, *, level: float, weights: Array | None = None) -> float:
    """Return the quantile of held-out scores that a new score stays below with a probability.

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
    """Return weights (sites,) that make groups of structures count alike."""
    counts = Counter(site.group for site in sites)
    return np.array([1 / counts[site.group] for site in sites])


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
            truth=min(site.cn, STATED_CN_CLASSES - 1),
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
        error=float(weights @ np.abs(prob @ np.arange(STATED_CN_CLASSES) / truth - 1)),
    )


def _fit_blend(counted: Sequence[_Counted], start: Calibration) -> Calibration:
    """Return the likeliest CN blend of those whose mean errs hardly more than the least erring.

    Only blends within one standard error of the best likelihood compete (the one-standard-error
    rule of Breiman et al. 1984): of a sharper one the mean errs less and less, since errors of
    whole numbers are least at the likeliest, but its probabilities are untrue.
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
    most = _TOLERATED * min(trial.error for trial in alike)
    return min((t for t in alike if t.error <= most), key=lambda trial: trial.loss).blend


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
    """Return the widening of a figure's interval, groups alike."""
    found = []
    for answer, site, spread, weight in zip(samples, sites, told, even_weights(sites), strict=True):
        truth = float(figure(site.absorber, site.species, site.positions))
        values = figure(site.absorber, answer.species, answer.positions)
        drawn = mean_and_spread(values, answer.weights)
        if drawn is not None and np.isfinite(truth):
            found.append((abs(drawn[0] - truth), drawn[1] if spread is None else spread, weight))
    return narrowest(np.array(found), start, level) if found else start


def narrowest(
    found: Array, start: Widening, level: float, *, powers: Sequence[float] = _POWERS
) -> Widening:
    """Return the widening that covers at the level with the narrowest intervals.

    Narrowest in the mean logarithm: a few hopeless spectra must not decide on how wide the
    intervals of the others are.

    Parameters
    ----------
    found
        (answers, 3) error, spread and weight of each.
    """
    error, spreads, weights = found.T
    unit = max(float(np.median(spreads)), start.floor)
    trials = []
    for floor, power in product(_FLOORS, powers):
        shape = Widening(scale=1.0, floor=floor * unit, power=power)
        scale = conformal_quantile(error / shape.half(spreads), level=level, weights=weights)
        trials.append(replace(shape, scale=scale))
    return min(trials, key=lambda w: float(np.log(np.maximum(w.half(spreads), 1e-9)).mean()))


def fit_mean(
    probs: Sequence[Array], truths: Sequence[Sequence[Site]], *, level: float = 0.9
) -> Widening:
    """Fit the interval of the mean CN, on single sites and on averages over unlike sites.

    Parameters
    ----------
    probs
        Distribution over CN of each answer.
    truths
        The sites whose average each was asked about, one or more. Averages count as much as all
        groups of single sites together.
    level
        Share of truths that the interval should hold.
    """
    single = np.array([len(truth) == 1 for truth in truths])
    weights = np.ones(len(truths))
    weights[single] = even_weights([truth[0] for truth in truths if len(truth) == 1])
    for kind in (single, ~single):
        weights[kind] /= max(float(weights[kind].sum()), 1e-12)
    means, spreads = np.array([cn_moments(prob) for prob in probs]).T
    errors = np.abs(means - [np.mean([site.cn for site in truth]) for truth in truths])
    found = np.column_stack([errors, spreads, weights])
    # with higher powers the intervals of mixtures grow wider than coordination numbers are apart
    return narrowest(found, Calibration().cn_mean, level, powers=(1.0,))


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

    bonds, angles = zip(*[(h.bond, h.angle) if h else (None, None) for h in said], strict=True)
    return replace(
        blend,
        cn_threshold=_fit_threshold(counted, blend) if counted else start.cn_threshold,
        bond=widening(geometry.mean_bond, bonds, start.bond),
        angle=widening(geometry.mean_angle, angles, start.angle),
        bridge=widening(geometry.bridge, [None] * len(said), start.bridge),
    )
