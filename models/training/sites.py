"""The sites that a model learns from, and how their families are parted."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearedge.models.data.dataset import Site, read_dataset
from nearedge.models.data.views import usable
from nearedge.models.training.encoders import partition
from nearedge.models.training.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sites:
    """The data of a training.

    Attributes
    ----------
    train, held_out
        Sites with a spectrum that passes normalisation, of ``train`` and ``val`` families.
    bare
        Sites of ``train`` families that may lack a spectrum: clusters to rattle.
    edges
        The (absorber, edge) pairs.
    """

    train: list[Site]
    held_out: list[Site]
    bare: list[Site]
    edges: tuple[tuple[str, str], ...]

    def digest(self) -> str:
        """Return the SHA-256, hex, of all that the rows hold, in their order."""
        found = hashlib.sha256()
        for site in [*self.train, *self.held_out, *self.bare]:
            for field in fields(site):
                value = getattr(site, field.name)
                held = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
                found.update(len(held).to_bytes(8) + held)
        return found.hexdigest()


def load_sites(data: Sequence[Path], *, span: Sequence[float]) -> Sites:
    """Read training and held-out sites; no other split is ever read.

    Raises
    ------
    ValueError
        If there is nothing to train or to calibrate on.
    """
    sites = read_dataset(data)
    train = usable([s for s in sites if s.split == "train" and len(s.energy)], span=span)
    edges = tuple(sorted({(s.absorber, s.edge) for s in train}))
    held_out = [s for s in sites if s.split == "val" and (s.absorber, s.edge) in edges]
    held_out = usable([s for s in held_out if len(s.energy)], span=span)
    if not train or not held_out:
        raise ValueError(
            f"found {len(train)} sites of split train and {len(held_out)} of val with a usable "
            "spectrum; training needs both: see `nearedge dataset describe`"
        )
    bare = [s for s in sites if s.split == "train" and s.rattle == 0]
    return Sites(train=train, held_out=held_out, bare=bare, edges=edges)


def folds_of(sites: Sites, recipe: Recipe) -> NDArray[np.int64]:
    """Part of every training site's family, (sites,): the encoders' first partition."""
    first: NDArray[np.int64] = _partitions(sites, recipe)[0]
    return first


def cells_of(sites: Sites, recipe: Recipe) -> NDArray[np.int64]:
    """Group the training sites, (sites,), into what no round of partitions divides."""
    return np.unique(_partitions(sites, recipe), axis=1, return_inverse=True)[1].ravel()


def _partitions(sites: Sites, recipe: Recipe) -> NDArray[np.int64]:
    """Divide the families as the encoders do, (rounds, sites)."""
    size = {"folds": recipe.encoder.folds, "rounds": recipe.encoder.rounds}
    return partition(sites.train, **size, seed=recipe.seed)
