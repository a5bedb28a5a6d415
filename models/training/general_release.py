"""Calibrate the networks of all edges on held-out families, and write their weights and card."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from nearedge.models.answering.card import Card, write_card
from nearedge.models.answering.estimate import Calibration, Widening, mean_interval
from nearedge.models.answering.general import (
    FORM,
    GROUPS,
    UNCALIBRATED,
    Said,
    group_of,
    likely_set,
    place_of,
    ranked,
    said,
    tempered,
)
from nearedge.models.aside import written_aside
from nearedge.models.clusters import geometry
from nearedge.models.data.dataset import Site, describe
from nearedge.models.data.gap import TheoryGap, Views, read_views
from nearedge.models.parts.committee import Committee
from nearedge.models.parts.condition import GRID
from nearedge.models.parts.forest import Forest
from nearedge.models.parts.general import General
from nearedge.models.parts.general_growth import GeneralGrowth
from nearedge.models.parts.outlier import Familiar
from nearedge.models.spectrum import Array
from nearedge.models.training.familiarity import familiarise
from nearedge.models.training.general import (
    GeneralRecipe,
    lessons,
    supported,
)
from nearedge.models.training.release import half
from nearedge.models.training.uncertainty import conformal_quantile

LEVEL = 0.9
#: Views of each held-out site that calibration sees, half of them with the composition known.
VIEWS = 6
#: Temperatures that are tried.
_TEMPERATURES = np.geomspace(0.5, 4.0, 25)
_FLOOR = 0.01  # Å
#: Share of held-out views whose score stays below the threshold of the out-of-distribution flag.
FAMILIAR = 0.975
LIMITS = (
    "Trained on calculated (FEFF10) spectra of minerals and other ordered crystals, and on the "
    "measured scans that data.standards names, if any.",
    "Clusters are grown atom by atom as crystals are built; first shells of eight and more atoms "
    "are the weakest, and what lies beyond the first shell is mostly typical and not measured.",
    "Spectra say little of which element a neighbour is: name the sample's elements.",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exam:
    """What the networks say of spectra, beside the truth, and what each counts.

    Attributes
    ----------
    absorber, named
        Symbols, and whether the composition was told.
    said
        What the networks say.
    cn, bond
        The truth, Å.
    weight
        What each counts.
    """

    absorber: tuple[str, ...]
    named: tuple[bool, ...]
    said: tuple[Said, ...]
    cn: Array
    bond: Array
    weight: Array

    def groups(self) -> NDArray[np.str_]:
        """Return the group that each answer is calibrated with."""
        asked = zip(self.absorber, self.named, strict=True)
        return np.array([group_of(absorber, named=named) for absorber, named in asked])


@torch.inference_mode()
def examine(
    committee: Committee,
    sites: Sequence[Site],
    *,
    gap: TheoryGap,
    residuals: Array | None,
    views: int = VIEWS,
    seed: int = 1,
    known: bool | None = None,
) -> Exam:
    """Read views of sites; the composition is known for every other one, for all, or for none."""
    data = lessons(sites)
    make = Views(gap, residuals=residuals, generator=torch.Generator().manual_seed(seed))
    answers: list[Said] = []
    told = [bool(k % 2) if known is None else known for k in range(views)]
    for named in told:
        hint = data.hint * float(named)
        values = make.read(data.levels)
        reading = committee(values, torch.ones_like(values), data.absorber, hint)
        answers += [said(reading, i, absorber=s.absorber) for i, s in enumerate(sites)]
    bonds = [float(geometry.mean_bond(s.absorber, s.species, s.positions)) for s in sites]
    return Exam(
        absorber=tuple(s.absorber for s in sites) * views,
        named=tuple(named for named in told for _ in sites),
        said=tuple(answers),
        cn=np.tile([float(s.cn) for s in sites], views),
        bond=np.tile(bonds, views),
        weight=np.ones(views * len(sites)),
    )


def pooled(calculated: Exam, measured: Exam) -> Exam:
    """Put two exams together so that in each group of elements both count alike.

    Measurements are where answers must be right; there are few, and all of well-known compounds.
    """
    parts = []
    for exam in (calculated, measured):
        groups = exam.groups()
        total = {group: exam.weight[groups == group].sum() for group in np.unique(groups)}
        parts.append(exam.weight / np.array([total[group] for group in groups]))
    return Exam(
        absorber=calculated.absorber + measured.absorber,
        named=calculated.named + measured.named,
        said=calculated.said + measured.said,
        cn=np.concatenate([calculated.cn, measured.cn]),
        bond=np.concatenate([calculated.bond, measured.bond]),
        weight=np.concatenate(parts),
    )


def calibrate(exam: Exam) -> dict[str, Calibration]:
    """Fit temperatures, thresholds and widths, for each group of answers."""
    groups = exam.groups()
    return {str(group): _calibration(exam, groups == group) for group in np.unique(groups)}


def _calibration(exam: Exam, own: NDArray[np.bool_]) -> Calibration:
    told = [one for one, mine in zip(exam.said, own, strict=True) if mine]
    bond, weight = exam.bond[own], exam.weight[own]
    truth = np.minimum(np.round(exam.cn[own]), len(told[0].cn) - 1).astype(int)

    def surprise(temperature: float) -> float:
        start = replace(UNCALIBRATED, temperature=temperature)
        probs = [tempered(one.cn, start)[t] for one, t in zip(told, truth, strict=True)]
        return float(-np.log(np.maximum(probs, 1e-6)) @ weight)

    best = replace(UNCALIBRATED, temperature=float(min(_TEMPERATURES, key=surprise)))
    probs = [tempered(one.cn, best) for one in told]
    scores = [_score(prob, t) for prob, t in zip(probs, truth, strict=True)]
    off = np.array([abs(one.bond[0] - b) for one, b in zip(told, bond, strict=True)])
    off /= np.array([one.bond[1] + _FLOOR for one in told])
    good = np.isfinite(off)
    return replace(
        best,
        level=LEVEL,
        cn_threshold=conformal_quantile(np.array(scores), level=LEVEL, weights=weight),
        cn_mean=_mean_widening(probs, exam.cn[own], weight),
        bond=Widening(
            scale=conformal_quantile(off[good], level=LEVEL, weights=weight[good]), floor=_FLOOR
        ),
    )


def _score(prob: Array, truth: int) -> float:
    """Return what a threshold must reach for the set, which always holds the likeliest, to hold."""
    scores = ranked(prob)
    return 0.0 if scores[truth] == scores.min() else float(scores[truth])


def _mean_widening(probs: Sequence[Array], cn: Array, weight: Array) -> Widening:
    """Return how wide the interval of the mean coordination number must be."""
    unit = Widening(scale=1.0, floor=UNCALIBRATED.cn_mean.floor)
    found = [mean_interval(prob, unit) for prob in probs]
    off = [
        abs(one.mean - t) / (one.hi - one.mean) for one, t in zip(found, cn.tolist(), strict=True)
    ]
    return replace(unit, scale=conformal_quantile(np.array(off), level=LEVEL, weights=weight))


def figures(exam: Exam, calibrations: Mapping[str, Calibration]) -> dict[str, float]:
    """Return the figures of an exam: CN right, macro over absorber and CN, bonds, what is held."""
    found = [
        _scored(one, cn, bond, calibrations[group])
        for one, cn, bond, group in zip(
            exam.said, exam.cn, exam.bond, exam.groups().tolist(), strict=True
        )
    ]
    right: dict[Any, list[float]] = {}
    for absorber, cn, row in zip(exam.absorber, exam.cn, found, strict=True):
        right.setdefault((absorber, cn), []).append(row[0])
    columns = np.array(found)
    errors = columns[np.isfinite(columns[:, 1]), 1]
    return {
        "cn_right": float(columns[:, 0].mean()),
        "cn_right_macro": float(np.mean([np.mean(v) for v in right.values()])),
        "bond_error": float(errors.mean()),
        "bond_error_median": float(np.median(errors)),
        "cn_held": float(columns[:, 2].mean()),
        "cn_set_size": float(columns[:, 4].mean()),
        "bond_held": float(np.nanmean(columns[:, 3])),
        "bond_half_width": float(columns[:, 5].mean()),
    }


def _scored(one: Said, cn: float, bond: float, calibration: Calibration) -> list[float]:
    prob = tempered(one.cn, calibration)
    chosen = likely_set(prob, threshold=calibration.cn_threshold)
    half = float(calibration.bond.half(one.bond[1]))
    off = abs(one.bond[0] - bond)
    top = min(cn, len(prob) - 1)
    held = float(off <= half) if np.isfinite(off) else np.nan
    return [float(prob.argmax() == top), off, float(top in chosen), held, len(chosen), half]


def committee_of(members: Sequence[General], forest: Forest | None = None) -> Committee:
    """Put trained networks together, and the trees beside them if there are any."""
    committee = Committee(members[0].size, members=len(members), forest=forest)
    for mine, theirs in zip(committee.members, members, strict=True):
        mine.load_state_dict(theirs.state_dict())
    return committee.eval()


def release(
    committee: Committee,
    train: Sequence[Site],
    val: Sequence[Site],
    *,
    recipe: GeneralRecipe,
    residuals: Array | None,
    growth: GeneralGrowth,
    out: Path,
    name: str = "any",
    measured: Exam | None = None,
    standards: Sequence[tuple[str, str]] = (),
    beside: Mapping[str, object] | None = None,
) -> Card:
    """Calibrate and write ``name.safetensors`` and its card.

    Parameters
    ----------
    committee
        Trained networks and trees.
    train, val
        What they learned from, and the families that calibrate them.
    recipe, residuals
        The recipe and the residuals, as in training.
    growth
        What grows clusters: it need not be trained again with the networks.
    out
        Folder for the weights.
    name
        The name of the weights.
    measured
        What networks say of measured standards that they did not learn from; then it counts for
        calibration as much as ``val``. None: there is nothing measured.
    standards
        Absorbers and compounds of the measured scans that the networks learned from.
    beside
        Further recipes by name, for the card: of the trees, of learning from measured scans.

    Raises
    ------
    ValueError
        If no held-out site has an absorber of which there are enough structures.
    """
    absorbers = supported(train, least=recipe.least_structures)
    held_out = [site for site in val if site.absorber in absorbers]
    if not held_out:
        raise ValueError(
            f"{len(absorbers)} absorbers have {recipe.least_structures} structures in training, "
            f"and none of the {len(val)} held-out sites is theirs: nothing to calibrate on"
        )
    exam = examine(committee, held_out, gap=recipe.gap, residuals=residuals)
    calibrations = calibrate(pooled(exam, measured) if measured else exam)
    familiar, outlier = _familiar(train, held_out, recipe, residuals)
    path = out / f"{name}.safetensors"
    with written_aside(path) as part:
        save_file(_tensors(committee, familiar) | growth_tensors(growth), part)
    return write_card(
        path,
        edges=[[absorber, "K"] for absorber in absorbers],
        species=sorted({str(s) for site in train for s in site.species}),
        atoms=growth.listing.size.atoms,
        start=growth.sizes(),
        grid=GRID,
        network={},
        encoder={"form": FORM, **asdict(committee.size)},
        surrogate={},
        diffusion={},
        members=len(committee.members),
        calibration={"groups": {name: one.to_dict() for name, one in calibrations.items()}},
        outlier=outlier,
        data={
            "train": describe(train)["train"],
            "val": describe(val)["val"],
            "standards": [list(one) for one in standards],
        },
        recipe=asdict(recipe) | dict(beside or {}),
        figures={"val": figures(exam, calibrations)},
        limits=LIMITS,
    )


def regrown(card: Card, growth: GeneralGrowth, *, out: Path) -> Card:
    """Write weights again with what grows their clusters; networks and calibration stay.

    Parameters
    ----------
    card
        The card of the weights that have the networks.
    growth
        What grows clusters.
    out
        Folder for the weights.
    """
    path = out / card.path.name
    own_parts = ("committee.", "forest.", "outlier.")
    kept = {k: t for k, t in load_file(card.path).items() if k.startswith(own_parts)}
    with written_aside(path) as part:
        save_file(kept | growth_tensors(growth), part)
    own = ("name", "path", "digest", "atoms", "start", "limits")
    return write_card(
        path,
        atoms=growth.listing.size.atoms,
        start=growth.sizes(),
        limits=LIMITS,
        **{f.name: getattr(card, f.name) for f in fields(card) if f.name not in own},
    )


def growth_tensors(growth: GeneralGrowth) -> dict[str, Tensor]:
    """Return the tensors of what grows clusters as weights hold them, in half precision."""
    found = {"growth.nearest": growth.nearest.half()}
    for name, net in (("listing", growth.listing), ("placement", growth.placement)):
        found |= {f"growth.{name}.{key}": t.contiguous() for key, t in half(net).items()}
    return found


def _familiar(
    train: Sequence[Site], val: Sequence[Site], recipe: GeneralRecipe, residuals: Array | None
) -> tuple[Familiar, dict[str, Any]]:
    """Learn what is familiar in each group of elements from views of training sites.

    Held-out sites give the thresholds: one for all, and one for each group.
    """
    make = Views(recipe.gap, residuals=residuals, generator=torch.Generator().manual_seed(2))
    seen, learned = _values(make, train, views=4)
    familiar = familiarise(seen, np.ones_like(seen), learned, edges=GROUPS)
    held_out, asked = _values(make, val, views=8)
    every = zip(held_out, asked.tolist(), strict=True)
    scores = np.array([familiar.distance(one, np.ones_like(one), edge=k) for one, k in every])
    places = {group_of(site.absorber, named=True): place_of(site.absorber) for site in val}
    own = {name: _highest(scores[asked == place]) for name, place in sorted(places.items())}
    return familiar, {"threshold": _highest(scores), "groups": own}


def _highest(scores: Array) -> float:
    return float(np.quantile(scores, FAMILIAR))


def _values(make: Views, sites: Sequence[Site], *, views: int) -> tuple[Array, NDArray[np.int64]]:
    """Return views of sites, and the place of each one's group of elements."""
    levels = lessons(sites).levels
    seen = np.concatenate([read_views(make(levels)).numpy() for _ in range(views)])
    return seen, np.array([place_of(site.absorber) for site in sites] * views)


def _tensors(committee: Committee, familiar: Familiar) -> dict[str, Tensor]:
    found = {f"committee.{k}": v.contiguous() for k, v in half(committee).items()}
    if committee.forest is not None:
        found |= {f"forest.{k}": v.contiguous() for k, v in committee.forest.tensors().items()}
    return found | {
        "outlier.mean": torch.tensor(familiar.mean, dtype=torch.float32),
        "outlier.covariance": torch.tensor(familiar.covariance, dtype=torch.float32),
    }
