"""The figures of accuracy, as docs/accuracy.md defines them: per spectrum, then over many.

Lengths in Å, angles in degrees. A figure that a spectrum does not define is NaN there and left
out of the mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from nearedge.models.answering.estimate import STATED_CN_CLASSES
from nearedge.models.evaluation.alignment import shell_rmsds
from nearedge.models.evaluation.answers import ScoredAnswer, Truth, answer_of, truth_of
from nearedge.models.evaluation.energy import energy_score, quantiles
from nearedge.models.inversion import Interval
from nearedge.models.spectrum import Array

__all__ = [
    "Score",
    "ScoredAnswer",
    "Truth",
    "answer_of",
    "ood_auc",
    "score",
    "summarise",
    "truth_of",
]

#: A class of coordination with fewer rows is listed and stays out of macro averages.
SMALLEST_CLASS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The figures of one answer; NaN where not defined.

    Attributes
    ----------
    absorber, cn_true
        The absorber whose answer this is, and its class: the true coordination number, the mean
        over sites.
    cn_mean, cn_map
        What the answer says of it.
    cn_error, cn_correct
        Relative error of the mean, and whether the most probable is right; the highest class that
        answers state (`STATED_CN_CLASSES`) stands for all above it.
    cn_covered, cn_set_size
        Whether the stated set holds the truth, and the set's size.
    cn_mean_covered, cn_mean_width
        Whether the stated interval of the mean CN holds the mean over the sites, and its width.
    bond_true, bond_mean, bond_error, bond_mae, bond_covered, bond_width
        Mean first-shell distance, its error, the error bond by bond, and the interval.
    angle_mae, right_share
        Error angle by angle over the samples whose CN is right, and the share of these.
    bridge_error, rdf_overlap, shell_rmsd
        Second shell, radial distributions, and shape of the first shell.
    bond_energy, angle_energy
        Energy scores of the first-shell distances and of the bond angles.
    """

    absorber: str
    cn_true: float
    cn_mean: float
    cn_map: float
    cn_error: float
    cn_correct: float
    cn_covered: float
    cn_set_size: float
    cn_mean_covered: float
    cn_mean_width: float
    bond_true: float
    bond_mean: float
    bond_error: float
    bond_mae: float
    bond_covered: float
    bond_width: float
    angle_mae: float
    right_share: float
    bridge_error: float
    rdf_overlap: float
    shell_rmsd: float
    bond_energy: float
    angle_energy: float


_NAN = float("nan")


def sorted_error(answer: Array, truth: Array) -> float:
    """Return the mean absolute difference of two ascending lists, as far as the shorter goes."""
    found = answer[~np.isnan(answer)]
    count = min(len(found), len(truth))
    return float(np.abs(found[:count] - truth[:count]).mean()) if count else _NAN


def pooled_error(answers: Array, weights: Array, truths: Sequence[Array]) -> float:
    """Return the Wasserstein distance of two pooled distributions: many against many.

    Parameters
    ----------
    answers, weights
        (samples, k) with NaN past the last, and (samples,).
    truths
        One array for each site.
    """
    from scipy.stats import wasserstein_distance

    known = ~np.isnan(answers)
    pooled = np.concatenate(truths) if truths else np.zeros(0)
    shares = np.broadcast_to(weights[:, None], answers.shape)[known]
    if not shares.sum() > 0 or not pooled.size:
        return _NAN
    return float(wasserstein_distance(answers[known], pooled, shares))


def _weighted(values: Array, weights: Array) -> float:
    known = ~np.isnan(values)
    total = weights[known].sum()
    return float(values[known] @ weights[known] / total) if total > 0 else _NAN


def list_error(
    answers: Array, weights: Array, truths: Sequence[Array], *, chosen: np.ndarray | None = None
) -> float:
    """Return the error of sorted lists: list by list for one site, pooled for several.

    Parameters
    ----------
    answers, weights
        (samples, k) ascending with NaN past the last, and (samples,).
    truths
        One ascending array for each site.
    chosen
        (samples,) which samples count; all where None.
    """
    if chosen is not None:
        answers, weights = answers[chosen], weights[chosen]
    if len(truths) > 1:
        return pooled_error(answers, weights, truths)
    errors = np.array([sorted_error(one, truths[0]) for one in answers])
    return _weighted(errors, weights)


def rdf_overlap(a: Mapping[str, Array], b: Mapping[str, Array]) -> float:
    """Return the shared area of two sets of radial distributions over their mean area, 0 to 1.

    Examples
    --------
    >>> rdf_overlap({"O": np.array([1.0, 1.0])}, {"O": np.array([1.0, 0.0])})
    0.6666666666666666
    """
    if not a:
        return _NAN
    zeros = np.zeros_like(next(iter(a.values())))
    pairs = [(a.get(s, zeros), b.get(s, zeros)) for s in sorted({*a, *b})]
    area = sum(float(x.sum() + y.sum()) for x, y in pairs)
    shared = sum(float(np.minimum(x, y).sum()) for x, y in pairs)
    return 2 * shared / area if area else _NAN


def _shell_rmsd(answer: ScoredAnswer, truth: Truth) -> float:
    if answer.samples is None or len(truth.sites) > 1:
        return _NAN
    each = shell_rmsds(answer.samples, truth.sites[0])
    return _weighted(each, answer.weights)


def _energy(answers: Array, weights: Array, truths: Sequence[Array]) -> float:
    return energy_score(quantiles(list(answers)), weights, quantiles(truths))


def _covered(interval: Interval | None, value: float) -> float:
    if interval is None or not interval.hi > interval.lo:
        return _NAN
    return float(interval.lo <= value <= interval.hi)


def _cn_figures(answer: ScoredAnswer, truth: Truth) -> dict[str, float]:
    true = float(truth.cn.mean())
    same = bool((truth.cn == truth.cn[0]).all())  # an average over different CN has none of its own
    stated = bool(answer.cn_set)
    found, stated_as = (min(cn, STATED_CN_CLASSES - 1) for cn in (answer.cn_map, true))
    low, high = answer.cn_interval or (_NAN, _NAN)
    return {
        "cn_true": true,
        "cn_mean": answer.cn_mean,
        "cn_map": float(answer.cn_map),
        "cn_error": abs(answer.cn_mean - true) / true if true else _NAN,
        "cn_correct": float(found == stated_as) if same else _NAN,
        "cn_covered": float(stated_as in answer.cn_set) if same and stated else _NAN,
        "cn_set_size": float(len(answer.cn_set)) if stated else _NAN,
        "cn_mean_covered": float(low <= true <= high) if answer.cn_interval else _NAN,
        "cn_mean_width": high - low,
    }


def _bond_figures(answer: ScoredAnswer, truth: Truth) -> dict[str, float]:
    means = np.array([bonds.mean() for bonds in truth.bonds if len(bonds)])
    true = float(means.mean()) if means.size else _NAN
    bond = answer.bond
    return {
        "bond_true": true,
        "bond_mean": bond.mean if bond else _NAN,
        "bond_error": abs(bond.mean - true) if bond else _NAN,
        "bond_mae": list_error(answer.bonds, answer.weights, truth.bonds),
        "bond_covered": _covered(bond, true),
        "bond_width": bond.hi - bond.lo if bond and bond.hi > bond.lo else _NAN,
    }


def _shape_figures(answer: ScoredAnswer, truth: Truth) -> dict[str, float]:
    right = np.isin(answer.sample_cn, truth.cn)
    bridge = answer.bridge.mean if answer.bridge else _NAN
    return {
        "angle_mae": list_error(answer.angles, answer.weights, truth.angles, chosen=right),
        "right_share": float(answer.weights[right].sum()),
        "bridge_error": abs(bridge - truth.bridge),
        "rdf_overlap": rdf_overlap(answer.rdf, truth.rdf),
        "shell_rmsd": _shell_rmsd(answer, truth),
        "bond_energy": _energy(answer.bonds, answer.weights, truth.bonds),
        "angle_energy": _energy(answer.angles, answer.weights, truth.angles),
    }


def score(answer: ScoredAnswer, truth: Truth) -> Score:
    """Compare one answer with its truth."""
    return Score(
        absorber=truth.absorber,
        **_cn_figures(answer, truth),
        **_bond_figures(answer, truth),
        **_shape_figures(answer, truth),
    )


_MEANS = tuple(
    f.name for f in fields(Score) if f.name not in {"absorber", "cn_true", "cn_mean", "cn_map"}
)
_RENAMED = {
    "cn_correct": "cn_accuracy",
    "cn_covered": "cn_coverage",
    "cn_mean_covered": "cn_mean_coverage",
    "bond_covered": "bond_coverage",
}
_WITHOUT = {"bond_true", "bond_mean"}


def _mean(values: Array) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _classes(scores: Sequence[Score]) -> dict[int, list[Score]]:
    out: dict[int, list[Score]] = {}
    for one in scores:
        out.setdefault(round(one.cn_true), []).append(one)
    return dict(sorted(out.items()))


def _column(scores: Sequence[Score], name: str) -> Array:
    return np.array([getattr(one, name) for one in scores], dtype=np.float64)


def macro(scores: Sequence[Score], name: str, *, smallest: int = SMALLEST_CLASS) -> float | None:
    """Return the mean of a figure over the classes of true CN, each class counting the same."""
    classes = [rows for rows in _classes(scores).values() if len(rows) >= smallest]
    means = [m for rows in classes if (m := _mean(_column(rows, name))) is not None]
    return float(np.mean(means)) if means else None


def confusion(scores: Sequence[Score]) -> dict[str, dict[str, int]]:
    """Return how often each true CN was given each most probable CN."""
    out: dict[str, dict[str, int]] = {}
    for one in scores:
        if not np.isnan(one.cn_correct):
            row = out.setdefault(str(round(one.cn_true)), {})
            row[str(int(one.cn_map))] = row.get(str(int(one.cn_map)), 0) + 1
    return {k: dict(sorted(v.items())) for k, v in sorted(out.items())}


def _by_class(scores: Sequence[Score]) -> dict[str, dict[str, float | int | None]]:
    return {
        str(cn): {
            "rows": len(rows),
            "cn_error": _mean(_column(rows, "cn_error")),
            "cn_accuracy": _mean(_column(rows, "cn_correct")),
            "bond_error": _mean(_column(rows, "bond_error")),
        }
        for cn, rows in _classes(scores).items()
    }


def summarise(scores: Sequence[Score]) -> dict[str, Any]:
    """Return figures over many spectra: means, macro averages, classes, confusion matrix.

    Those of ``sure`` answers, whose set holds one coordination number, stand beside those of all.
    Rows without any bond in truth are left out of all but their number.
    """
    bonded = [one for one in scores if one.cn_true > 0]
    out: dict[str, Any] = {"rows": len(scores), "unbonded": len(scores) - len(bonded)}
    for name in _MEANS:
        if name not in _WITHOUT:
            out[_RENAMED.get(name, name)] = _mean(_column(bonded, name))
    out["cn_error_macro"] = macro(bonded, "cn_error")
    out["cn_accuracy_macro"] = macro(bonded, "cn_correct")
    sizes = _column(bonded, "cn_set_size")
    sure = [one for one in bonded if one.cn_set_size == 1]
    out["sure_share"] = _mean(np.where(np.isnan(sizes), _NAN, sizes == 1))
    out["sure_cn_accuracy"] = _mean(_column(sure, "cn_correct"))
    out["sure_bond_error"] = _mean(_column(sure, "bond_error"))
    out["classes"] = _by_class(bonded)
    out["confusion"] = confusion(bonded)
    return out


def ood_auc(inside: Array, foreign: Array) -> float | None:
    """Return the ROC area of a score that is larger for foreign spectra; None if one is empty.

    The probability that a foreign spectrum scores higher than an in-distribution one, ties half.

    Examples
    --------
    >>> ood_auc(np.array([0.1, 0.2]), np.array([0.2, 0.9]))
    0.875
    """
    if not len(inside) or not len(foreign):
        return None
    above = np.sign(np.asarray(foreign)[:, None] - np.asarray(inside)[None, :])
    return float((above + 1).mean() / 2)
