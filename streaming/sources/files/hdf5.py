"""Read HDF5 and NeXus files: NXxas, NXxasproc, the scans of BLISS, SOLEIL and others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from nearedge.models import Array, Technique
from nearedge.streaming.sources.files.table import Table, UnreadableFileError

MAGIC = b"\x89HDF\r\n\x1a\n"
_GROUPS = ("measurement", "scan_data", "data")  # of ESRF, SOLEIL, and the usual one
_BEAMS = {"Transmission": "transmitted_beam", "Fluorescence Yield": "fluorescence_beam"}
LEAST = 3  # values of a column
ELEMENTS = 32  # of a detector at most; what has more of them beside each energy is an image


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
        found = [tables for entry in entries if (tables := list(_tables(entry, len(entries))))]
    if not found:
        raise UnreadableFileError("an HDF5 file without columns of numbers of one length")
    yield from found


def _entries(file: h5py.File) -> list[h5py.Group]:
    groups = [item for item in _items(file).values() if isinstance(item, h5py.Group)]
    entries = [group for group in groups if _class(group) in ("NXentry", "NXsubentry")]
    return entries or [file]


def _tables(entry: h5py.Group, count: int) -> Iterator[Table]:
    name = entry.name.strip("/") if count > 1 else ""
    about = _about(entry)
    beam = _BEAMS.get(about.get("mode", ""), "absorbed_beam")
    for columns, units in _candidates(entry):
        known = {beam if name == "absorbed_beam" else name: c for name, c in columns.items()}
        table = _table(known, units)
        if table is not None:
            yield Table(
                columns=table[0],
                units=table[1],
                name=name,
                header=about,
                technique=_technique(entry),
            )


def _candidates(entry: h5py.Group) -> Iterator[tuple[dict[str, Array], dict[str, str]]]:
    """Yield columns by name: of the default plot, known groups, detectors, and all below."""
    plot = _default(entry)
    if plot is not None:
        yield _columns(_plotted(plot))
    for name in _GROUPS:
        if isinstance(group := _items(entry).get(name), h5py.Group):
            yield _columns(group.items())
    yield _columns(_detectors(entry))
    yield _columns(_below(entry))


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


def _columns(items: Any) -> tuple[dict[str, Array], dict[str, str]]:
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


def _table(
    columns: dict[str, Array], units: dict[str, str]
) -> tuple[dict[str, Array], dict[str, str]] | None:
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
