"""Grow the trees that read the spectra of all edges, and turn them into tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nearedge.models.data.gap import Views
from nearedge.models.evaluation.baselines import check_trees
from nearedge.models.parts.forest import Forest, TreeTables, forest_numbers
from nearedge.models.parts.general import GENERAL_CN_CLASSES, KINDS
from nearedge.models.spectrum import Array
from nearedge.models.training.general import GeneralRecipe, Lessons, cut_short, views_of
from nearedge.models.training.measured import MeasuredLessons, TuneRecipe, varied


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestRecipe:
    """How to grow trees.

    Attributes
    ----------
    seed, trees
        The seed, and the number of trees of each kind.
    views
        Views of each site, and of each measured scan; the composition is known in every other one.
    leaf
        Least views in a leaf.
    cn_numbers, bond_numbers
        Share of the numbers that a node chooses among, of trees for CN and kinds, and for bonds.
    weight
        What a view of a measured scan counts, that of a calculated site being 1.
    """

    seed: int = 0
    trees: int = 60
    views: int = 8
    leaf: int = 10
    cn_numbers: float = 0.2
    bond_numbers: float = 0.5
    weight: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rows:
    """What trees learn from: (n, numbers); of each row CN, kind, bond (NaN: unknown), weight."""

    numbers: Array
    cn: Array
    kind: Array
    bond: Array
    weight: Array


def grow_forest(
    data: Lessons,
    recipe: GeneralRecipe,
    how: ForestRecipe,
    *,
    residuals: Array | None = None,
    measured: MeasuredLessons | None = None,
    tune: TuneRecipe | None = None,
) -> Forest:
    """Grow trees from views of calculated sites and, if there are any, of measured scans.

    Parameters
    ----------
    data, recipe, residuals
        As in `nearedge.models.training.general.train_member`.
    how
        How to grow them.
    measured, tune
        Scans of known compounds and how they are varied, as in
        `nearedge.models.training.measured.tuned`; None: there are none.

    Raises
    ------
    ModuleNotFoundError
        If scikit-learn is not installed.
    """
    check_trees()
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    generator = torch.Generator().manual_seed(1000 * how.seed + 900)
    views = Views(recipe.gap, residuals=residuals, generator=generator)
    parts = []
    for k, seen in enumerate(views_of(data, replace(recipe, views=how.views), views)):
        mask = cut_short(seen, recipe, generator)
        parts.append(_rows(data, seen * mask, mask, known=k % 2, kind=data.kind.numpy()))
    if measured is not None:
        untold = np.full(len(measured), np.nan)
        for k in range(how.views):
            seen, mask = varied(measured.values, measured.mask, tune or TuneRecipe(), generator)
            parts.append(_rows(measured, seen, mask, known=k % 2, kind=untold, weight=how.weight))
    rows = _together(parts)
    settings = {"n_estimators": how.trees, "min_samples_leaf": how.leaf, "random_state": how.seed}

    def grown(form: Any, wanted: Array, share: float) -> Any:
        known = np.isfinite(wanted)
        trees = form(max_features=share, **settings)
        return trees.fit(rows.numbers[known], wanted[known], sample_weight=rows.weight[known])

    cn = grown(ExtraTreesClassifier, rows.cn, how.cn_numbers)
    kind = grown(ExtraTreesClassifier, rows.kind, how.cn_numbers)
    return Forest(
        cn=share_tables(cn, GENERAL_CN_CLASSES),
        kind=share_tables(kind, KINDS),
        bond=bond_tables(grown(ExtraTreesRegressor, rows.bond, how.bond_numbers)),
    )


def _rows(
    some: Lessons | MeasuredLessons,
    values: Tensor,
    mask: Tensor,
    *,
    known: int,
    kind: Array,
    weight: float = 1.0,
) -> _Rows:
    """Put views of sites or scans beside what is true of them; 1: the composition is known."""
    numbers = forest_numbers(values, mask, some.absorber, some.hint * known)
    return _Rows(
        numbers=numbers.numpy(),
        cn=some.cn.numpy(),
        kind=kind,
        bond=some.bond.numpy(),
        weight=np.full(len(some), weight),
    )


def _together(parts: Sequence[_Rows]) -> _Rows:
    return _Rows(
        **{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(_Rows)}
    )


def share_tables(forest: Any, classes: int) -> TreeTables:
    """Turn a fitted classifier of scikit-learn into tables: leaves have the shares of all classes.

    Parameters
    ----------
    forest
        It knows whole numbers from 0 on, perhaps not all of them.
    classes
        How many there are.
    """

    def shares(tree: Any) -> Array:
        out = np.zeros((tree.node_count, classes))
        out[:, forest.classes_.astype(int)] = tree.value[:, 0]
        return np.asarray(out / out.sum(1, keepdims=True))

    return _tables([one.tree_ for one in forest.estimators_], shares)


def bond_tables(forest: Any) -> TreeTables:
    """Turn a fitted regressor of scikit-learn into tables: leaves have mean and spread."""

    def mean_and_spread(tree: Any) -> Array:
        return np.stack([tree.value[:, 0, 0], np.sqrt(np.maximum(tree.impurity, 0))], 1)

    return _tables([one.tree_ for one in forest.estimators_], mean_and_spread)


def _tables(trees: Sequence[Any], figures: Callable[[Any], Array]) -> TreeTables:
    """Put trees into tables where the two children of a node follow each other."""
    parts: list[dict[str, Array]] = []
    nodes = leaves = 0
    for tree in trees:
        parts.append(_table(tree, figures(tree), nodes=nodes, leaves=leaves))
        nodes += len(parts[-1]["child"])
        leaves += len(parts[-1]["leaf"])
    kinds = {
        "root": torch.int32,
        "number": torch.int16,
        "threshold": torch.float16,
        "child": torch.int32,
        "leaf": torch.float16,
    }
    return TreeTables(
        **{
            name: torch.tensor(np.concatenate([part[name] for part in parts]), dtype=kind)
            for name, kind in kinds.items()
        }
    )


def _table(tree: Any, figures: Array, *, nodes: int, leaves: int) -> dict[str, Array]:
    """Put one tree into tables, behind so many nodes and leaves of others."""
    inner = np.flatnonzero(tree.children_left >= 0)
    ends = np.flatnonzero(tree.children_left < 0)
    place = np.zeros(tree.node_count, np.int64)
    place[tree.children_left[inner]] = 1 + 2 * np.arange(len(inner))
    place[tree.children_right[inner]] = 2 + 2 * np.arange(len(inner))
    child = np.zeros(tree.node_count, np.int64)
    child[place[inner]] = nodes + place[tree.children_left[inner]]
    child[place[ends]] = -1 - (leaves + np.arange(len(ends)))
    order, asks = np.argsort(place), tree.feature >= 0
    return {
        "root": np.array([nodes]),
        "number": np.where(asks, tree.feature, 0)[order],
        "threshold": np.where(asks, tree.threshold, 0.0)[order],
        "child": child,
        "leaf": figures[ends],
    }
