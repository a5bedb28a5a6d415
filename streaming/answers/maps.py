"""The answer to a map as one HDF5 file: NeXus for its figures, and HyperSpy's form of its spectra.

docs/maps.md describes it for readers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from nearedge.models import Array, Rejected
from nearedge.models.answering.heads import HeadAnswers
from nearedge.models.many_spectra import NormalisedSpectra
from nearedge.models.maps.groups import Groups
from nearedge.models.maps.image import ScanAxis, SpectrumImage
from nearedge.models.maps.mixtures import Mixtures
from nearedge.models.maps.representative import Representative

FIGURES = {
    **{"cn_mean": "", "cn_mean_lo": "", "cn_mean_hi": ""},
    **{"bond": "angstrom", "bond_lo": "angstrom", "bond_hi": "angstrom"},
    **{"angle": "degree", "angle_lo": "degree", "angle_hi": "degree"},
    "ood_score": "",
}
"""What is known of each pixel, and its unit."""
NORMALISATION = {"e0": "eV", "edge_step": "", "edge_step_error": "", "energy_shift": "eV"}
HYPERSPY_VERSION = "3.3"


class MapFile:
    """Writes the answers of a map as they come.

    Parameters
    ----------
    file
        Open for writing, and empty.
    image
        The map.
    about
        Where it comes from and how it was answered.
    """

    def __init__(
        self, file: h5py.File, image: SpectrumImage, *, about: Mapping[str, str | float]
    ) -> None:
        self._file, self._image = file, image
        self._flags: list[str] = []
        self._reasons: list[str] = []
        count = len(image.spectra)
        self._bits = np.zeros(count, np.uint64)
        self._reason = np.full(count, -1, np.int16)
        self._figures = {name: np.full(count, np.nan) for name in (*FIGURES, *NORMALISATION)}
        self._prob: Array | None = None
        file.attrs["default"] = "entry"
        self._entry = _group(file, "entry", "NXentry")
        self._entry["title"] = image.title
        process = _group(self._entry, "process", "NXprocess")
        for name, value in about.items():
            process[name] = value

    def put(self, rows: slice, spectra: NormalisedSpectra, answers: HeadAnswers) -> None:
        """Write some pixels."""
        self._spectra(spectra)[rows] = spectra.flat.astype(np.float32)
        for name in FIGURES:
            self._figures[name][rows] = getattr(answers, name)
        for name in NORMALISATION:
            self._figures[name][rows] = getattr(spectra, name)
        if self._prob is None:
            self._prob = np.full((len(self._image.spectra), answers.cn_prob.shape[1]), np.nan)
        self._prob[rows] = answers.cn_prob
        for k in range(len(answers)):
            at = rows.start + k
            if (why := answers.rejected.get(k)) is not None:
                self._reason[at] = _number(str(why.reason), self._reasons)
            for flag in answers.flags[k]:
                self._bits[at] |= np.uint64(1 << _number(flag, self._flags))

    def finish(
        self,
        groups: Groups,
        representatives: Sequence[Representative],
        *,
        mixed: Mixtures | None = None,
    ) -> None:
        """Write what is known once all pixels are there."""
        shape, axes = self._image.shape, self._image.axes
        data = _group(self._entry, "figures", "NXdata")
        self._entry.attrs["default"] = "figures"
        signals = [*self._figures, "flags", "reason", "group"]
        for name, values in self._figures.items():
            data[name] = values.reshape(shape)
            data[name].attrs["units"] = (FIGURES | NORMALISATION)[name]
        data["flags"] = self._bits.reshape(shape)
        data["flags"].attrs["names"] = _texts(self._flags)
        data["flags"].attrs["long_name"] = "bit k is set where flag k of `names` holds"
        data["reason"] = self._reason.reshape(shape)
        data["reason"].attrs["names"] = _texts(self._reasons)
        data["reason"].attrs["long_name"] = "why there is no answer, by number; -1: there is one"
        data["group"] = groups.labels.reshape(shape)
        data.attrs["signal"] = signals[0]
        data.attrs["auxiliary_signals"] = signals[1:]
        _write_axes(data, axes)
        if self._prob is not None:
            more = _group(self._entry, "cn_prob", "NXdata")
            more["cn_prob"] = self._prob.reshape(*shape, -1)
            more["cn"] = np.arange(self._prob.shape[1])
            more.attrs["signal"] = "cn_prob"
            _write_axes(more, axes, last="cn")
        self._write_components(groups)
        if mixed is not None:
            more = _group(self._entry, "fractions", "NXdata")
            more["fractions"] = mixed.fractions.reshape(*shape, -1)
            more["misfit"] = mixed.misfit.reshape(shape)
            more["member"] = np.arange(mixed.fractions.shape[1])
            more.attrs["signal"] = "fractions"
            _write_axes(more, axes, last="member")
        parts = _group(self._entry, "groups", "NXcollection")
        for number, one in enumerate(representatives):
            _write_representative(_group(parts, str(number), "NXcollection"), one)

    def _spectra(self, spectra: NormalisedSpectra) -> Any:
        """Return the array of normalised spectra, over pixels as they are counted."""
        name = "entry/spectra/norm"
        if name in self._file:
            return _Flat(self._file[name], self._image.shape)
        data = _group(self._entry, "spectra", "NXdata")
        shape = (*self._image.shape, len(spectra.energy))
        data.create_dataset("norm", shape=shape, dtype=np.float32, fillvalue=np.nan)
        data["energy"] = spectra.energy
        data["energy"].attrs["units"] = "eV"
        data.attrs["signal"] = "norm"
        _write_axes(data, self._image.axes, last="energy")
        self._file.attrs["file_format"] = "HyperSpy"
        self._file.attrs["file_format_version"] = HYPERSPY_VERSION
        signal = self._file.create_group("Experiments").create_group("normalised")
        signal["data"] = h5py.SoftLink(f"/{name}")
        _write_hyperspy(signal, self._image, spectra)
        return _Flat(data["norm"], self._image.shape)

    def _write_components(self, groups: Groups) -> None:
        if not len(groups.vectors):
            return
        data = _group(self._entry, "components", "NXcollection")
        data["scores"] = groups.scores.reshape(*self._image.shape, -1)
        data["vectors"], data["mean"] = groups.vectors, groups.grid_mean


class _Flat:
    """Writes runs of pixels, counted through, into an array over the map's shape."""

    def __init__(self, data: h5py.Dataset, shape: tuple[int, ...]) -> None:
        self._data, self._shape = data, shape

    def __setitem__(self, rows: slice, values: NDArray[np.float32]) -> None:
        per_line, at = self._shape[-1], rows.start
        while at < rows.stop:
            line, first = divmod(at, per_line)
            end = min(at - first + per_line, rows.stop)
            place = np.unravel_index(line, self._shape[:-1]) if len(self._shape) > 1 else ()
            here = (*map(int, place), slice(first, first + end - at))
            self._data[here] = values[at - rows.start : end - rows.start]
            at = end


def _number(name: str, names: list[str]) -> int:
    if name not in names:
        names.append(name)
    return names.index(name)


def _write_axes(data: h5py.Group, axes: Sequence[ScanAxis], *, last: str | None = None) -> None:
    names = []
    for number, axis in enumerate(axes):
        name = axis.name.replace("/", "_") or f"axis_{number}"
        while name in data or name in names:
            name += "_"
        data[name] = axis.positions
        data[name].attrs["units"] = axis.unit
        names.append(name)
    data.attrs["axes"] = _texts([*names, *([last] if last else [])])


def _write_representative(group: h5py.Group, one: Representative) -> None:
    group["pixels"] = one.pixels
    if isinstance(one.answer, Rejected) or one.spectrum is None:
        if isinstance(one.answer, Rejected):
            group["reason"], group["detail"] = str(one.answer.reason), one.answer.detail
        return
    found, samples = one.answer.estimates, one.answer.samples
    group["energy"], group["norm"] = one.spectrum.energy, one.spectrum.flat
    group["species"] = samples.species.astype(object)
    group["positions"], group["weights"] = samples.positions, samples.weights
    group["positions"].attrs["units"] = "angstrom"
    group["cn_prob"], group["cn_mean"] = found.cn_prob, found.cn_mean
    for name in ("bond", "angle"):
        figure = getattr(found, name)
        if figure is not None:
            group[name], group[f"{name}_lo"] = figure.mean, figure.lo
            group[f"{name}_hi"] = figure.hi
    group["ood_score"], group["flags"] = one.answer.ood_score, ", ".join(one.answer.flags)
    group["seed"], group["model"] = one.answer.seed, one.answer.model


def _write_hyperspy(signal: h5py.Group, image: SpectrumImage, spectra: NormalisedSpectra) -> None:
    """Write what HyperSpy needs to read the spectra as a signal over the map."""
    for number, axis in enumerate(image.axes):
        _write_hyperspy_axis(signal, number, axis.name, axis.unit, axis.positions, navigate=True)
    number = len(image.axes)
    _write_hyperspy_axis(signal, number, "Energy", "eV", spectra.energy, navigate=False)
    metadata = signal.create_group("metadata")
    general = metadata.create_group("General")
    general.attrs["title"] = f"{image.title}, normalised"
    kind = metadata.create_group("Signal")
    kind.attrs["signal_type"] = ""
    metadata.create_group("_HyperSpy")
    signal.create_group("original_metadata")
    signal.create_group("learning_results")
    signal.attrs["package"], signal.attrs["package_version"] = "nearedge", ""


def _write_hyperspy_axis(
    signal: h5py.Group, number: int, name: str, unit: str, positions: Array, *, navigate: bool
) -> None:
    axis = signal.create_group(f"axis-{number}")
    axis.attrs["name"], axis.attrs["units"], axis.attrs["navigate"] = name, unit, navigate
    steps = np.diff(positions)
    if len(steps) and not np.allclose(steps, steps[0], rtol=1e-6, atol=1e-9):
        axis.attrs["_type"] = "DataAxis"
        axis["axis"] = positions
        return
    axis.attrs["_type"] = "UniformDataAxis"
    axis.attrs["size"] = len(positions)
    axis.attrs["offset"] = positions[0]
    axis.attrs["scale"] = steps[0] if len(steps) else 1.0


def _texts(names: Sequence[str]) -> Any:
    return np.array(list(names), dtype=h5py.string_dtype())


def _group(parent: h5py.Group, name: str, kind: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = kind
    return group
