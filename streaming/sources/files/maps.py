"""Read maps of spectra: arrays with an axis of energies, and others of places or times."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from nearedge.callbacks.instrument import Instrument
from nearedge.models import Array, Technique
from nearedge.models.many_spectra import Spectra
from nearedge.models.maps.image import ScanAxis, SpectrumImage
from nearedge.streaming.sources.files import rosetta
from nearedge.streaming.sources.files.hdf5 import MAGIC
from nearedge.streaming.sources.files.table import UnreadableFileError

_EV = {"ev": 1.0, "kev": 1e3, "mev": 1e-3}
_LEAST = 10  # energies of a spectrum


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Cube:
    """An array, which of its axes is that of energies, and what the others are."""

    data: Any
    at: int
    energy: Array
    axes: tuple[ScanAxis, ...]
    title: str
    technique: Technique | None = None


def read_map(path: Path, instrument: Instrument) -> SpectrumImage:
    """Read the largest map of a file.

    Absorber, edge and technique come from the instrument's profile, the technique from the file
    where its form implies one.

    Parameters
    ----------
    path
        .dm3, .dm4, .emd, .hspy (through RosettaSciIO), or HDF5 and NeXus with an array of two or
        more axes beside the energies of one of them.
    instrument
        Section of the profile.

    Raises
    ------
    UnreadableFileError
        If the file cannot be read, or holds no map.
    """
    cubes = list(_cubes(Path(path)))
    if not cubes:
        raise UnreadableFileError(
            f"{path} holds no map: expected an array with an axis of {_LEAST} energies or more and "
            "others; for single spectra there is `nearedge invert`"
        )
    cube = max(cubes, key=lambda one: int(np.prod(one.data.shape)))
    data = np.moveaxis(np.asarray(cube.data), cube.at, -1)
    return SpectrumImage(
        spectra=Spectra(
            energy=cube.energy,
            mu=data.reshape(-1, data.shape[-1]),
            technique=cube.technique or instrument.technique,
            absorber=instrument.absorber,
            edge=instrument.edge,
            formula=instrument.composition,
        ),
        axes=cube.axes,
        title=cube.title or Path(path).stem,
    )


def _cubes(path: Path) -> Iterator[_Cube]:
    if path.suffix.lower() in rosetta.READERS:
        yield from _signals(path)
        return
    with path.open("rb") as file:
        start = file.read(8)
    if start != MAGIC:
        raise UnreadableFileError(
            f"{path} is no file of maps: expected HDF5, NeXus, .dm3, .dm4, .emd or .hspy"
        )
    try:
        with h5py.File(path, "r") as file:
            yield from [_in_memory(cube) for cube in _largest(_arrays(file))]
    except OSError as error:
        raise UnreadableFileError(f"HDF5 cannot open it: {error}") from error


def _signals(path: Path) -> Iterator[_Cube]:
    for signal in rosetta.signals_of(path):
        at = rosetta.energy_axis(signal)
        axes, data = signal["axes"], signal["data"]
        if at is None or np.ndim(data) < 2 or data.shape[at] < _LEAST:
            continue
        energy = _scale(axes[at], data.shape[at])
        yield _Cube(
            data=data,
            at=at,
            energy=energy * _EV[str(axes[at]["units"]).lower()],
            axes=tuple(
                ScanAxis(
                    name=str(axis.get("name") or f"axis {k}"),
                    unit=_plain_unit(axis.get("units")),
                    positions=_scale(axis, data.shape[k]),
                )
                for k, axis in enumerate(axes)
                if k != at
            ),
            title=rosetta.title_of(signal),
            technique=Technique.EELS,
        )


def _scale(axis: dict[str, Any], size: int) -> Array:
    if "axis" in axis:
        return np.asarray(axis["axis"], np.float64)
    steps = np.arange(size, dtype=np.float64)
    return np.asarray(float(axis.get("offset", 0.0)) + float(axis.get("scale", 1.0)) * steps)


def _plain_unit(unit: Any) -> str:
    return unit if isinstance(unit, str) else ""


def _arrays(file: h5py.File) -> Iterator[_Cube]:
    """Yield the arrays beside which the energies of one of their axes lie."""
    found: list[h5py.Dataset] = []
    file.visititems(lambda _, item: found.append(item) if _may_be_map(item) else None)
    for data in found:
        beside = {
            name: item
            for name, item in data.parent.items()
            if isinstance(item, h5py.Dataset) and item.ndim == 1 and item.dtype.kind in "iuf"
        }
        names = _axis_names(data, beside)
        at = next((k for k, name in enumerate(names) if _is_energy(name, beside)), None)
        if at is not None:
            yield _cube(data, at, names, beside)


def _may_be_map(item: Any) -> bool:
    return isinstance(item, h5py.Dataset) and item.ndim >= 2 and item.dtype.kind in "iuf"


def _axis_names(data: h5py.Dataset, beside: dict[str, h5py.Dataset]) -> list[str]:
    """Return the name of the positions along each axis, as NXdata tells; else energies that fit."""
    group = data.parent
    told = (
        group.attrs.get("axes") if group.attrs.get("signal") == data.name.split("/")[-1] else None
    )
    if told is not None and len(told) == data.ndim:
        return [name.decode() if isinstance(name, bytes) else str(name) for name in told]
    names = [""] * data.ndim
    for name, item in beside.items():
        fits = [k for k, size in enumerate(data.shape) if size == len(item)]
        if _is_energy(name, beside) and fits:
            names[fits[-1]] = name
            break
    return names


def _is_energy(name: str, beside: dict[str, h5py.Dataset]) -> bool:
    item = beside.get(name)
    if item is None or len(item) < _LEAST:
        return False
    return _unit(item) in _EV or "energ" in name.lower()


def _unit(item: h5py.Dataset) -> str:
    unit = item.attrs.get("units", "")
    return (unit.decode() if isinstance(unit, bytes) else str(unit)).lower()


def _cube(data: h5py.Dataset, at: int, names: list[str], beside: dict[str, h5py.Dataset]) -> _Cube:
    item = beside[names[at]]
    axes = []
    for k, name in enumerate(names):
        known = beside.get(name)
        if k != at:
            fits = known is not None and len(known) == data.shape[k]
            axes.append(
                ScanAxis(
                    name=name or f"axis {k}",
                    unit=_unit(known) if known is not None and fits else "",
                    positions=np.asarray(known[()], np.float64)
                    if known is not None and fits
                    else np.arange(data.shape[k], dtype=np.float64),
                )
            )
    return _Cube(
        data=data,
        at=at,
        energy=np.asarray(item[()], np.float64) * _EV.get(_unit(item), 1.0),
        axes=tuple(axes),
        title="",
    )


def _largest(cubes: Iterator[_Cube]) -> list[_Cube]:
    """Return the cube of most numbers: only that is read."""
    return sorted(cubes, key=lambda one: -int(np.prod(one.data.shape)))[:1]


def _in_memory(cube: _Cube) -> _Cube:
    return _Cube(
        data=cube.data[()],
        at=cube.at,
        energy=cube.energy,
        axes=cube.axes,
        title=cube.title,
        technique=cube.technique,
    )
