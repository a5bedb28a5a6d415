"""Read spectra of electron microscopes, through RosettaSciIO: .dm3, .dm4, .emd and .hspy."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nearedge.models import Array, Technique
from nearedge.streaming.sources.files.table import Table, UnreadableFileError

READERS = {
    ".dm3": "rsciio.digitalmicrograph",
    ".dm4": "rsciio.digitalmicrograph",
    ".emd": "rsciio.emd",
    ".hspy": "rsciio.hspy",
}
_ENERGY_UNITS = ("ev", "kev", "mev")


def read_signals(path: Path) -> Iterator[Table]:
    """Yield each spectrum of a file; a spectrum image has one for each position.

    Raises
    ------
    UnreadableFileError
        If RosettaSciIO (GPL-3, an extra) is not installed, cannot read the file, or finds only
        images in it.
    """
    spectra = [signal for signal in signals_of(path) if energy_axis(signal) is not None]
    if not spectra:
        raise UnreadableFileError("no spectrum with an axis in eV; images cannot be inverted")
    for signal in spectra:
        yield from _spectra(signal, name=title_of(signal) if len(spectra) > 1 else "")


def signals_of(path: Path) -> list[dict[str, Any]]:
    """Return what RosettaSciIO finds in a file.

    Raises
    ------
    UnreadableFileError
        If RosettaSciIO is not installed, or cannot read the file.
    """
    try:
        reader = importlib.import_module(READERS[path.suffix.lower()])
    except ImportError:
        raise UnreadableFileError(
            f"a {path.suffix} file; to read it install RosettaSciIO (GPL-3): "
            "pip install 'nearedge[eels]'"
        ) from None
    try:
        signals: list[dict[str, Any]] = reader.file_reader(str(path))
    except Exception as error:  # readers of foreign formats raise anything
        raise UnreadableFileError(
            f"RosettaSciIO cannot read it: {type(error).__name__}: {error}"
        ) from error
    return signals


def energy_axis(signal: dict[str, Any]) -> int | None:
    """Return which axis is that of energies, the only one of the signal itself."""
    axes = signal["axes"]
    for at, axis in enumerate(axes):
        if str(axis.get("units", "")).lower() in _ENERGY_UNITS:
            return at
    return None


def _spectra(signal: dict[str, Any], *, name: str) -> Iterator[Table]:
    at = energy_axis(signal) or 0
    axis = signal["axes"][at]
    counts: Array = np.moveaxis(np.asarray(signal["data"], dtype=np.float64), at, -1)
    channel = np.arange(counts.shape[-1], dtype=np.float64)
    energy: Array = float(axis["offset"]) + float(axis["scale"]) * channel
    unit = str(axis["units"])
    if unit == "meV":
        energy, unit = energy / 1e3, "eV"
    for place in np.ndindex(counts.shape[:-1]):
        where = ",".join(map(str, place))
        yield Table(
            columns={"energy": energy, "spectrum": counts[place]},
            name=f"{name} {where}".strip(),
            units={"energy": unit},
            header={"title": title_of(signal)},
            technique=Technique.EELS,
        )


def title_of(signal: dict[str, Any]) -> str:
    """Return the title of a signal."""
    general = signal.get("metadata", {}).get("General", {})
    return str(general.get("title") or "spectrum")
