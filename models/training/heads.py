"""Fit the calibration of answers by the descriptor heads alone, on answers whose truth is known."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from nearedge.models.answering.estimate import STATED_CN_CLASSES, Calibration, Widening
from nearedge.models.answering.heads import cn_probabilities
from nearedge.models.answering.inverter import Inverter
from nearedge.models.clusters import geometry
from nearedge.models.clusters.descriptors import SHELL, join
from nearedge.models.data.dataset import Site
from nearedge.models.parts.encoder import unsmoothed
from nearedge.models.spectrum import Array
from nearedge.models.training.calibrating import Question
from nearedge.models.training.uncertainty import Figure, even_weights, fit_mean, narrowest

_TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 1.75, 2.0)
_DOUBTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)


def fit_heads(
    inverter: Inverter,
    asked: Sequence[Question],
    mixed: Sequence[Question],
    *,
    level: float = 0.9,
) -> Calibration:
    """Fit temperature and widenings.

    Parameters
    ----------
    inverter
        The model.
    asked, mixed
        Single sites of families held out of its training, and averages over unlike ones of them.
    level
        Share of truths that intervals should hold.
    """
    sites = [case.sites[0] for _, case in asked]
    cn, bond, spread, cosine, cosine_spread = _read(inverter, asked)
    start = Calibration(level=level, head_weight=1.0, usual=float(np.median(spread)))
    blend = _fit_cn(cn, spread, sites, start)
    weights = even_weights(sites)
    angles = np.degrees(np.arccos(np.clip(cosine, -1, 1)))

    def errors(figure: Figure, found: Array, spreads: Array) -> Array:
        truth = np.array([float(figure(s.absorber, s.species, s.positions)) for s in sites])
        known = np.isfinite(truth)
        columns = np.column_stack([np.abs(found - truth), spreads, weights])
        return np.asarray(columns[known], np.float64)

    other_cn, _, other_spread, _, _ = _read(inverter, mixed)
    mean = max(
        (
            _fit_mean(cn, spread, [(site,) for site in sites], blend),
            _fit_mean(other_cn, other_spread, [case.sites for _, case in mixed], blend),
        ),
        key=lambda widening: float(widening.half(np.array([0.5]))[0]),
    )
    return replace(
        blend,
        cn_mean=mean,
        bond=narrowest(errors(geometry.mean_bond, bond, spread), start.bond, level),
        angle=narrowest(
            errors(geometry.mean_angle, angles, np.degrees(cosine_spread)), start.angle, level
        ),
    )


def _fit_mean(
    cn: Array, spread: Array, truths: Sequence[Sequence[Site]], blend: Calibration
) -> Widening:
    """Fit the interval of the mean CN; that of pixels, which are averages, must hold as well."""
    bonded = np.array([all(site.cn for site in truth) for truth in truths])
    probs = cn_probabilities(cn[bonded], spread[bonded], blend)
    kept = [truth for truth, has in zip(truths, bonded, strict=True) if has]
    return fit_mean(list(probs), kept, level=blend.level)


def _read(
    inverter: Inverter, asked: Sequence[Question]
) -> tuple[Array, Array, Array, Array, Array]:
    found = join(inverter.expect([spectrum for spectrum, _ in asked]))
    mean, spread = found.mean.double().numpy(), found.spread.double().numpy()
    cn: Array = unsmoothed(found.cn.exp().double()).numpy()
    return cn, mean[:, -SHELL], spread[:, -SHELL], mean[:, 1 - SHELL], spread[:, 1 - SHELL]


def _fit_cn(cn: Array, spread: Array, sites: Sequence[Site], start: Calibration) -> Calibration:
    """Return the temperature and doubt under which the true CN are likeliest."""
    bonded = np.array([site.cn > 0 for site in sites])
    truth = np.array([min(site.cn, STATED_CN_CLASSES - 1) for site in sites])[bonded]
    weights = even_weights(sites)[bonded]

    def loss(calibration: Calibration) -> float:
        prob = cn_probabilities(cn[bonded], spread[bonded], calibration)
        likely = np.maximum(prob[np.arange(len(prob)), truth], 1e-9)
        return float(-(weights @ np.log(likely)) / weights.sum())

    trials = (replace(start, temperature=t, doubt=d) for t, d in product(_TEMPERATURES, _DOUBTS))
    return min(trials, key=loss)
