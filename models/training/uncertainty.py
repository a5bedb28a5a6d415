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
    cumulated,
    mean_and_spread,
)
from nearedge.models.clusters import geometry
from nearedge.models.data.dataset import Site
from nearedge.models.inversion import Samples
from nearedge.models.spectrum import Array

Figure: TypeAlias = Callable[[str, np.ndarray, np.ndarray], Array]
#: The sites whose average was measured.
Truth: TypeAlias = Sequence[Site]

_TEMPERATURES = (0.6, 0.8, 1.0, 1.25, 1.6, 2.0)
_DOUBTS = (0.0, 0.5, 1.0, 1.5)
_HEAD_WEIGHTS = (0.25, 0.5, 0.75, 1.0)
#: A probability is taken to be at least this, so that one miss doesn't decide.
_LEAST = 1e-3
_FLOORS = (0.02, 0.1, 0.25, 0.5, 1.0)  # in units of the median spread
_POWERS = (1.0, 1.5, 2.0)


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


def even_weights(truths: Sequence[Truth]) -> Array:
    """Weights (answers,) that make groups of structures count alike, however many there are.

    Averages over unlike sites are a group of their own.
    """
    groups = [truth[0].group if len(truth) == 1 else "average" for truth in truths]
    counts = Counter(groups)
    return np.array([1 / counts[group] for group in groups])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Counted:
    """One answer's coordination numbers beside the shares of the true ones, (13,)."""

    cn: np.ndarray
    weights: Array
    head: Head | None
    truth: Array
    weight: float

    def prob(self, calibration: Calibration) -> Array:
        return cn_distribution(self.cn, self.weights, calibration=calibration, head=self.head)


def _shares(truth: Truth) -> Array:
    numbers = [min(site.cn, STATED_CN_CLASSES - 1) for site in truth]
    return np.bincount(numbers, minlength=STATED_CN_CLASSES) / len(truth)


def _count(
    samples: Sequence[Samples], truths: Sequence[Truth], heads: Sequence[Head | None]
) -> list[_Counted]:
    return [
        _Counted(
            cn=geometry.coordination(truth[0].absorber, answer.species, answer.positions),
            weights=answer.weights,
            head=head,
            truth=_shares(truth),
            weight=weight,
        )
        for answer, truth, head, weight in zip(
            samples, truths, heads, even_weights(truths), strict=True
        )
        if all(site.cn > 0 for site in truth)
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
    classes = np.arange(STATED_CN_CLASSES)
    losses = -(truth * np.log(np.maximum(prob, _LEAST))).sum(1)
    loss = float(weights @ losses)
    return _Trial(
        blend=blend,
        loss=loss,
        uncertainty=float(np.sqrt((weights**2) @ (losses - loss) ** 2)),
        error=float(weights @ np.abs(prob @ classes / (truth @ classes) - 1)),
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
        _try(counted, replace(start, head_weight=w, temperature=t, doubt=d))
        for w, t, d in product(shares, _TEMPERATURES, doubts)
    ]
    best = min(trials, key=lambda trial: trial.loss)
    alike = [trial for trial in trials if trial.loss <= best.loss + best.uncertainty]
    return min(alike, key=lambda trial: trial.error).blend


def _fit_threshold(counted: Sequence[_Counted], blend: Calibration) -> float:
    """Return the threshold at which sets, which always hold the likeliest class, cover sites."""
    scores, weights = [], []
    for one in counted:
        prob = one.prob(blend)
        reached = cumulated(prob)
        always = reached <= reached[prob.argmax()]
        for k in np.flatnonzero(one.truth):
            scores.append(0.0 if always[k] else reached[k])
            weights.append(one.weight * one.truth[k])
    return conformal_quantile(np.array(scores), level=blend.level, weights=np.array(weights))


def _fit_mean(counted: Sequence[_Counted], blend: Calibration) -> Widening:
    """Return the widening of the interval of the mean CN."""
    classes = np.arange(STATED_CN_CLASSES)
    found = []
    for one in counted:
        prob = one.prob(blend)
        mean = prob @ classes
        told = np.sqrt(prob @ (classes - mean) ** 2) if one.head is None else one.head.cn_spread
        found.append((abs(mean - one.truth @ classes), told, one.weight))
    return _narrowest(np.array(found), blend.cn_mean, blend.level)


def _fit_widening(
    figure: Figure,
    samples: Sequence[Samples],
    truths: Sequence[Truth],
    told: Sequence[float | None],
    start: Widening,
    level: float,
) -> Widening:
    """Return the widening of a figure's interval about its mean over the sites."""
    found = []
    for answer, sites, spread, weight in zip(
        samples, truths, told, even_weights(truths), strict=True
    ):
        true = [float(figure(s.absorber, s.species, s.positions)) for s in sites]
        values = figure(sites[0].absorber, answer.species, answer.positions)
        drawn = mean_and_spread(values, answer.weights)
        if drawn is not None and np.isfinite(true).all():
            error = abs(drawn[0] - float(np.mean(true)))
            found.append((error, drawn[1] if spread is None else spread, weight))
    return _narrowest(np.array(found), start, level) if found else start


def _narrowest(found: Array, start: Widening, level: float) -> Widening:
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
    for floor, power in product(_FLOORS, _POWERS):
        shape = Widening(scale=1.0, floor=floor * unit, power=power)
        scale = conformal_quantile(error / shape.half(spreads), level=level, weights=weights)
        trials.append(replace(shape, scale=scale))
    return min(trials, key=lambda w: float(np.log(np.maximum(w.half(spreads), 1e-9)).mean()))


def fit_calibration(
    samples: Sequence[Samples],
    truths: Sequence[Truth],
    *,
    heads: Sequence[Head | None] | None = None,
    level: float = 0.9,
) -> Calibration:
    """Fit the calibration on answers whose truth is known.

    Parameters
    ----------
    samples, truths
        The answers and the sites whose average each was asked about, one or more, of held-out
        families and of every input condition that the stated uncertainty should hold for.
    heads
        For each answer what the descriptor head says.
    level
        Share of truths that sets and intervals should hold.

    Raises
    ------
    ValueError
        If there is no answer, or answers and sites differ in number.
    """
    if not samples or len(samples) != len(truths):
        raise ValueError(
            f"found {len(samples)} answers for {len(truths)} truths; a calibration needs one each"
        )
    start = Calibration(level=level)
    said = list(heads or [None] * len(samples))
    counted = _count(samples, truths, said)
    blend = _fit_blend(counted, start) if counted else start

    def widening(figure: Figure, told: Sequence[float | None], first: Widening) -> Widening:
        return _fit_widening(figure, samples, truths, told, first, level)

    bonds, angles = zip(*[(h.bond, h.angle) if h else (None, None) for h in said], strict=True)
    return replace(
        blend,
        cn_threshold=_fit_threshold(counted, blend) if counted else start.cn_threshold,
        cn_mean=_fit_mean(counted, blend) if counted else start.cn_mean,
        bond=widening(geometry.mean_bond, bonds, start.bond),
        angle=widening(geometry.mean_angle, angles, start.angle),
        bridge=widening(geometry.bridge, [None] * len(said), start.bridge),
    )
