"""Read HDF5 and NeXus files: NXxas, NXxasproc, the scans of BLISS, SOLEIL and others."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np

from nearedge.models import Array, Technique
from nearedge.streaming.sources.files.table import Table, UnreadableFileError

MAGIC = b"\x89HDF\r\n\x1a\n"
_GROUPS = ("measurement", "scan_data", "data")  # of ESRF, SOLEIL, and the usual one
_BEAMS = {"Transmission": "transmitted_beam", "Fluorescence Yield": "fluorescence_beam"}
LEAST = 3  # values of a column
ELEMENTS = 32  # of a detector at most; what has more of them beside each energy is an image

_Columns: TypeAlias = tuple[dict[str, Array], dict[str, str]]
"""Columns and their units by name."""


def is_hdf5(path: Path) -> bool:
    """Tell whether a file is HDF5, which may begin with a block of somebody else's."""
    with path.open("rb") as file:
        if file.read(8) == MAGIC:
            return True  # however broken the rest is
    return bool(h5py.is_hdf5(path))


def read_hdf5(path: Path) -> Iterator[list[Table]]:
    """Yield for each scan of a file the tables that may hold its spectrum, the likeliest first.

    Raises
    ------
    UnreadableFileError
        If it is no HDF5 file, or holds no columns of numbers.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise UnreadableFileError(f"HDF5 cannot open it: {error}") from error
    with file:
        entries = _entries(file)
        found = [tables for entry in entries for tables in _spectra(entry, len(entries)) if tables]
    if not found:
        raise UnreadableFileError("an HDF5 file without columns of numbers of one length")
    yield from found


def _entries(file: h5py.File) -> list[h5py.Group]:
    groups = [item for item in _items(file).values() if isinstance(item, h5py.Group)]
    entries = [group for group in groups if _class(group) in ("NXentry", "NXsubentry")]
    return entries or [file]


def _spectra(entry: h5py.Group, count: int) -> Iterator[list[Table]]:
    """Yield the tables of each spectrum of an entry: of each plot, where several are alike."""
    name = entry.name.strip("/") if count > 1 else ""
    plots = _alike(entry)
    for plot in plots:
        part = plot.name.removeprefix(entry.name).strip("/")
        # what a plot lacks, such as I0, the entry may have once for all
        own = (_columns(_plotted(plot)), _columns(chain(_plotted(plot), _below(entry))))
        yield list(_tables(entry, f"{name}/{part}".strip("/"), own))
    if not plots:
        yield list(_tables(entry, name, _candidates(entry)))


def _tables(entry: h5py.Group, name: str, candidates: Iterable[_Columns]) -> Iterator[Table]:
    about = _about(entry)
    beam = _BEAMS.get(about.get("mode", ""), "absorbed_beam")
    for columns, units in candidates:
        known = {beam if key == "absorbed_beam" else key: c for key, c in columns.items()}
        table = _table(known, units)
        if table is not None:
            yield Table(
                columns=table[0],
                units=table[1],
                name=name,
                header=about,
                technique=_technique(entry),
            )


def _candidates(entry: h5py.Group) -> Iterator[_Columns]:
    """Yield columns by name: of the default plot, known groups, detectors, and all below."""
    plot = _default(entry)
    if plot is not None:
        yield _columns(_plotted(plot))
    for group in _known_groups(entry):
        yield _columns(group.items())
    yield _columns(_detectors(entry))
    yield _columns(_below(entry))


def _known_groups(entry: h5py.Group) -> list[h5py.Group]:
    found = (_items(entry).get(name) for name in _GROUPS)
    return [group for group in found if isinstance(group, h5py.Group)]


def _alike(entry: h5py.Group) -> list[h5py.Group]:
    """Return the NXdata with the columns of the likeliest, where several hold unlike numbers."""
    plots = [group for group in _groups_below(entry) if _class(group) == "NXdata"]
    likely = [one for one in (_default(entry), *_known_groups(entry), *plots) if one is not None]
    wanted = set(_columns(_plotted(likely[0]))[0]) if likely else set()
    if not any("energ" in name.lower() for name in wanted) or len(wanted) < 2:
        return []
    found: list[tuple[h5py.Group, dict[str, Array]]] = []
    for plot in plots:
        columns = _columns(_plotted(plot))[0]
        if set(columns) == wanted and not any(_same(columns, other) for _, other in found):
            found.append((plot, columns))
    return [plot for plot, _ in found] if len(found) > 1 else []


def _same(one: dict[str, Array], other: dict[str, Array]) -> bool:
    return all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)


def _default(entry: h5py.Group) -> h5py.Group | None:
    """Return the NXdata that the attributes ``default`` lead to."""
    group = entry
    for _ in range(8):
        step = _items(group).get(_attribute(group, "default"))
        if not isinstance(step, h5py.Group):
            break
        group = step
    return group if _class(group) == "NXdata" else None


def _plotted(plot: h5py.Group) -> Iterator[tuple[str, Any]]:
    """Yield what an NXdata holds; an axis in eV or keV is its energies, whatever its name."""
    axes = plot.attrs.get("axes", ())
    names = [axes] if isinstance(axes, str | bytes) else list(axes)
    axis = _text(names[-1]) if names else ""
    for name, item in _items(plot).items():
        in_ev = name == axis and _attribute(item, "units").lower() in ("ev", "kev")
        yield ("energy" if in_ev and "energy" not in plot else name), item


def _detectors(entry: h5py.Group) -> Iterator[tuple[str, Any]]:
    """Yield what each detector, beam and monochromator measured, by the name of its group."""
    for group in _groups_below(entry):
        if _class(group) in ("NXdetector", "NXpositioner", "NXbeam"):
            held = _items(group)
            values = held.get("data", held.get("value"))
            yield group.name.rpartition("/")[2], values
        elif _class(group) == "NXmonochromator":
            yield "energy", _items(group).get("energy")


def _below(entry: h5py.Group) -> Iterator[tuple[str, Any]]:
    """Yield everything below by name; what every group calls its data has the group's name."""
    yield from _items(entry).items()
    for group in _groups_below(entry):
        for name, item in _items(group).items():
            yield (group.name.rpartition("/")[2] if name in ("data", "value") else name), item


def _groups_below(entry: h5py.Group) -> list[h5py.Group]:
    found: list[h5py.Group] = []
    entry.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Group) else None)
    return found


def _items(group: h5py.Group) -> dict[str, Any]:
    """Return what a group holds, without links that lead nowhere."""
    return {name: item for name in group if (item := group.get(name)) is not None}


def _columns(items: Any) -> _Columns:
    columns: dict[str, Array] = {}
    units: dict[str, str] = {}
    for whole, item in items:
        for name, values in _parts(whole, item):
            if name not in columns:
                columns[name] = values
                units[name] = _attribute(item, "units")
    return columns, {name: unit for name, unit in units.items() if unit}


def _parts(name: str, item: Any) -> Iterator[tuple[str, Array]]:
    """Yield the columns of a dataset: itself, the fields of a table, or a detector's elements."""
    if not isinstance(item, h5py.Dataset) or not item.shape or item.shape[0] < LEAST:
        return
    if item.dtype.names and item.ndim == 1:
        for field in item.dtype.names:
            if item.dtype[field].kind in "iuf" and not item.dtype[field].shape:
                yield field, np.asarray(item[field], dtype=float)
    elif item.dtype.kind in "iuf" and item.ndim == 1:
        yield name, np.asarray(item[()], dtype=float)
    elif item.dtype.kind in "iuf" and _is_of_elements(item.shape):
        columns = np.asarray(item[()], dtype=float).T
        for number, column in enumerate(columns, start=1):
            yield (name if len(columns) == 1 else f"{name}_{number}"), column


def _is_of_elements(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and shape[1] <= ELEMENTS and shape[1] < shape[0]


def _table(columns: dict[str, Array], units: dict[str, str]) -> _Columns | None:
    """Return the columns of the length that energies have, else most; at least two of them."""
    lengths = [len(column) for column in columns.values()]
    of_energies = {len(column) for name, column in columns.items() if "energ" in name.lower()}
    length = max(set(lengths), key=lambda n: (n in of_energies, lengths.count(n)), default=0)
    alike = {name: column for name, column in columns.items() if len(column) == length}
    energies = {name: unit for name, unit in units.items() if "energ" in name.lower()}
    return (alike, energies) if len(alike) > 1 else None


def _about(entry: h5py.Group) -> dict[str, str]:
    """Return title, mode, element, edge and formula, where the entry names them."""
    found: dict[str, str] = {}
    keys = {name: name for name in ("title", "mode")}
    keys |= {"element": "element.symbol", "edge": "element.edge"}
    keys |= {"chemical_formula": "sample.formula"}
    for name, item in _below(entry):
        if name in keys and isinstance(item, h5py.Dataset) and item.shape == ():
            value = item[()]
            found.setdefault(keys[name], _text(value))
    return found


def _technique(entry: h5py.Group) -> Technique | None:
    classes = [_class(group) for group in _groups_below(entry)]
    return Technique.EELS if "NXem_eels" in classes else None


def _class(group: h5py.Group) -> str:
    return _attribute(group, "NX_class")


def _attribute(item: Any, name: str) -> str:
    return _text(item.attrs.get(name, ""))


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
