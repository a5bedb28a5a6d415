"""Data sets of calculated spectra: one absorber site a row, in Parquet.

The columns: ``id``, ``split`` (by structure family: ``train``, ``val``, ``test``, ``glass``),
``group``, ``family``, ``structure``, ``source``, ``prototype`` and ``formula`` of the crystal
(empty where not known), ``absorber``, ``edge``, ``rattle`` and ``strain`` (of the random
displacement of its atoms), ``species`` and ``positions`` (flattened, nearest first), ``energy``,
``mu``, ``mu0`` and ``e_fermi``.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nearedge.models.clusters.geometry import coordination
from nearedge.models.spectrum import Array, Spectrum, Technique, freeze_arrays

Path = str | PathLike[str]

_WORDS = (
    *("id", "split", "group", "family", "structure", "source", "prototype", "formula"),
    *("absorber", "edge"),
)
_REQUIRED = ("absorber", "edge", "species", "positions", "energy", "mu")

SCHEMA = pa.schema(
    [(name, pa.string()) for name in _WORDS]
    + [("rattle", pa.float32()), ("strain", pa.float32())]
    + [("species", pa.list_(pa.string())), ("positions", pa.list_(pa.float32()))]
    + [("energy", pa.list_(pa.float64())), ("mu", pa.list_(pa.float32()))]
    + [("mu0", pa.list_(pa.float32())), ("e_fermi", pa.float64())]
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Site:
    """An absorber site: its calculated spectrum and what truly surrounds it.

    Attributes
    ----------
    id
        Stable key of the row.
    split, group, family, structure, source
        Which split (by family), kind of structure, family, structure and origin it belongs to.
    absorber, edge
        The absorber and its edge, for example ``Si`` and ``K``.
    prototype, formula
        Kind of crystal (anonymous formula, space group and Wyckoff positions) and its reduced
        formula; empty where not known.
    rattle, strain
        Root-mean-square random displacement (Å) and largest element of the random strain.
    species, positions
        (n,) symbols and (n, 3) Å of the neighbours, nearest first, the absorber at the origin.
    energy, mu
        (m,) eV, strictly increasing, and the absorption, about 1 past the edge.
    mu0
        (m,) atomic background, empty where not known.
    e_fermi
        Fermi level of the calculation, eV; NaN where not known.
    """

    id: str
    split: str
    group: str
    family: str
    structure: str
    source: str
    absorber: str
    edge: str
    rattle: float
    strain: float
    species: NDArray[np.str_]
    positions: NDArray[np.float64]
    energy: Array
    mu: Array
    mu0: Array
    e_fermi: float
    prototype: str = ""
    formula: str = ""

    def __post_init__(self) -> None:
        freeze_arrays(self)

    @property
    def spectrum(self) -> Spectrum:
        """The calculated spectrum, as a measurement would give it."""
        return Spectrum(
            energy=self.energy,
            mu=self.mu,
            technique=Technique.XANES,
            absorber=self.absorber,
            edge=self.edge,
        )

    @property
    def cn(self) -> int:
        """True coordination number."""
        return int(coordination(self.absorber, self.species, self.positions))


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _floats(values: Any) -> Array:
    return np.asarray([] if values is None else values, np.float64)


def _site(row: dict[str, Any]) -> Site:
    words = {name: str(row.get(name) or "") for name in _WORDS}
    return Site(
        **words,
        rattle=_number(row.get("rattle") or 0.0),
        strain=_number(row.get("strain") or 0.0),
        species=np.array(row["species"], dtype=np.str_),
        positions=_floats(row["positions"]).reshape(-1, 3),
        energy=_floats(row["energy"]),
        mu=_floats(row["mu"]),
        mu0=_floats(row.get("mu0")),
        e_fermi=_number(row.get("e_fermi")),
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    table = pq.ParquetFile(path).read()
    if missing := [name for name in _REQUIRED if name not in table.column_names]:
        raise ValueError(
            f"{path} has no column {', '.join(missing)}; a data set needs {', '.join(_REQUIRED)} "
            "(make one with `nearedge dataset build`)"
        )
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def read_dataset(
    paths: Path | Sequence[Path], *, split: str | None = None, absorber: str | None = None
) -> list[Site]:
    """Read the sites of one or more Parquet files, each once, in the order of the files.

    Parameters
    ----------
    paths
        A file or several; of sites with the same ``id`` the first is kept.
    split, absorber
        Only the sites of this split, of this absorber.

    Raises
    ------
    ValueError
        If a file lacks a column that a data set needs.
    """
    several = [paths] if isinstance(paths, str | PathLike) else paths
    sites: dict[str, Site] = {}
    for number, path in enumerate(several):
        for position, row in enumerate(_rows(path)):
            site = _site(row)
            sites.setdefault(site.id or f"{number}:{position}", site)
    return [
        site
        for site in sites.values()
        if split in (None, site.split) and absorber in (None, site.absorber)
    ]


def _row(site: Site) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(site, name) for name in SCHEMA.names}
    row["species"] = [str(symbol) for symbol in site.species]
    row["positions"] = site.positions.ravel()
    return row


def write_dataset(sites: Iterable[Site], path: Path) -> None:
    """Write the sites to one Parquet file, zstd-compressed."""
    table = pa.Table.from_pylist([_row(site) for site in sites], schema=SCHEMA)
    pq.write_table(table, path, compression="zstd", compression_level=12)


def describe(sites: Sequence[Site]) -> dict[str, dict[str, Any]]:
    """Count sites and families, absorbers, groups and coordination numbers of each split."""
    out: dict[str, dict[str, Any]] = {}
    for split in sorted({site.split for site in sites}):
        chosen = [site for site in sites if site.split == split]
        shells = Counter(f"{site.absorber}{site.cn}" for site in chosen)
        out[split] = {
            "sites": len(chosen),
            "families": len({site.family for site in chosen}),
            "absorbers": dict(sorted(Counter(site.absorber for site in chosen).items())),
            "groups": dict(sorted(Counter(site.group for site in chosen).items())),
            "coordination": dict(sorted(shells.items())),
            "rattled": sum(site.rattle > 0 for site in chosen),
        }
    return out
