"""Spectrum, clusters and provenance as one NeXus file (HDF5).

XANES follows the application definition NXxasproc: processed data with what made them. EELS lies in
an NXem_eels process with its NXspectrum. In both the file's ``default`` leads viewers to the plot.
"""

import io
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from nearedge.models import Technique
from nearedge.streaming.answers.answer import Answer
from nearedge.streaming.answers.figures import as_columns, figures_of, plain_figures
from nearedge.streaming.answers.moment import iso

#: Columns that NeXus readers see under a longer name.
SPELLED = {
    "cn_mean": "coordination_number_mean",
    "cn_mean_lo": "coordination_number_mean_lo",
    "cn_mean_hi": "coordination_number_mean_hi",
    "cn_map": "coordination_number_map",
    "ood_score": "out_of_distribution_score",
    "ood_flag": "out_of_distribution",
}


def nexus(answer: Answer) -> bytes:
    """Return the whole answer as the bytes of an HDF5 file."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["default"] = "entry"
        _fill_entry(_group(file, "entry", "NXentry"), answer)
    return buffer.getvalue()


def _fill_entry(entry: h5py.Group, answer: Answer) -> None:
    eels = answer.spectrum.technique is Technique.EELS
    entry.attrs["entry"] = "entry"
    scan = "" if answer.scan_id is None else f", scan {answer.scan_id}"
    entry["title"] = f"{answer.absorber} {answer.edge} edge{scan}"
    _write_time(entry, "end_time", answer)
    if not answer.merged_from:
        entry["entry_identifier_uuid"] = _text(answer.run_uid)
    sample = _group(entry, "sample", "NXsample")
    sample["name"] = _text(answer.sample or "not recorded")
    context = _group(sample, "context", "NXparameters")
    _write_scalars(context, answer.context, units=answer.units)
    if eels:
        _fill_eels(_group(entry, "eels", "NXem_eels"), answer)
        entry.attrs["default"] = "eels"
    else:
        entry["definition"] = "NXxasproc"
        _fill_reduction(_group(entry, "XAS_data_reduction", "NXprocess"), answer)
        _fill_absorption(_group(entry, "data", "NXdata"), answer)
        entry.attrs["default"] = "data"
    _fill_inversion(_group(entry, "inversion", "NXprocess"), answer)
    _fill_raw(_group(entry, "raw", "NXcollection"), answer)


def _fill_raw(raw: h5py.Group, answer: Answer) -> None:
    """Write the measured columns by role: i0, it and whatever else there was."""
    for role, column in answer.columns.items():
        if np.asarray(column).dtype.kind in "biuf":
            raw[_free_name(raw, role)] = column
    raw["dark_runs"] = np.array(answer.darks, dtype=h5py.string_dtype())
    for number, one in enumerate(answer.merged_from, 1):
        _write_scalars(_group(raw, f"merged_from_{number}", "NXparameters"), one)


def _fill_reduction(process: h5py.Group, answer: Answer) -> None:
    spectrum = answer.spectrum
    process["program"] = "nearedge"
    process["version"] = answer.code
    _write_time(process, "date", answer)
    parameters = _group(process, "parameters", "NXparameters")
    parameters["raw_file"] = _text(_origin(answer))
    _write_scalars(
        parameters,
        {
            **spectrum.parameters,
            "e0": spectrum.e0,
            "edge_step": spectrum.edge_step,
            "energy_shift": spectrum.energy_shift,
        },
    )


def _origin(answer: Answer) -> str:
    if answer.merged_from:
        return f"mean of spectra of the Bluesky runs {', '.join(answer.runs)}"
    return f"Bluesky run {answer.run_uid}, stream {answer.stream}"


def _fill_absorption(data: h5py.Group, answer: Answer) -> None:
    spectrum = answer.spectrum
    data["element"], data["edge"] = answer.absorber, answer.edge
    _plot(data, "energy", spectrum.energy, "data", spectrum.flat, unit="eV")
    data["data"].attrs["long_name"] = "normalised, flattened absorption"
    data["mu"], data["norm"] = spectrum.mu, spectrum.norm
    data.attrs["auxiliary_signals"] = ["norm", "mu"]


def _fill_eels(eels: h5py.Group, answer: Answer) -> None:
    spectrum = answer.spectrum
    _fill_reduction(_group(eels, "background_correction", "NXprocess"), answer)
    found = _group(eels, "spectrum", "NXspectrum")
    data = _group(found, "spectrum_0d", "NXdata")
    _plot(data, "axis_energy", spectrum.energy, "intensity", spectrum.flat, unit="eV")
    data["axis_energy"].attrs["long_name"] = "energy loss"
    data["counts"] = spectrum.mu
    eels.attrs["default"], found.attrs["default"] = "spectrum", "spectrum_0d"


def _fill_inversion(process: h5py.Group, answer: Answer) -> None:
    estimates, samples = answer.estimates, answer.samples
    process["program"], process["version"] = "nearedge", answer.code
    settings = _group(process, "parameters", "NXparameters")
    _write_scalars(
        settings,
        {
            "key": answer.key,
            "model": answer.model,
            "config": answer.config or "not known",
            "seed": answer.seed,
            "quality": answer.quality,
        },
    )
    figures = _group(process, "figures", "NXparameters")
    figures["coordination_number_probability"] = estimates.cn_prob
    figures["coordination_number_set"] = np.array(estimates.cn_set)
    _write_scalars(
        figures,
        {
            **{SPELLED.get(k, k): v for k, v in as_columns(plain_figures(answer)).items()},
            "flags": ", ".join(answer.doubts),
        },
        units={
            column: one.unit_word for one in figures_of(answer.absorber) for column in one.columns
        },
    )
    if answer.usual_misfit is not None:
        figures["usual_misfit"] = np.array(answer.usual_misfit)
    clusters = _group(process, "clusters", "NXcollection")
    clusters["species"] = samples.species.astype(object)
    clusters["weights"] = samples.weights
    clusters["positions"] = samples.positions
    clusters["positions"].attrs["units"] = "angstrom"
    _fill_rdf(_group(process, "radial_distribution", "NXdata"), answer)
    if answer.grid is not None and answer.implied is not None:
        fit = _group(process, "implied_spectrum", "NXdata")
        _plot(fit, "energy", answer.grid, "implied", answer.implied, unit="eV")
        fit["measured"] = answer.condition
        fit.attrs["auxiliary_signals"] = ["measured"]


def _fill_rdf(data: h5py.Group, answer: Answer) -> None:
    total = np.sum(list(answer.estimates.rdf.values()), axis=0)
    _plot(data, "r", answer.estimates.rdf_r, "total", total, unit="angstrom")
    for species, values in answer.estimates.rdf.items():
        data[species] = values
    data.attrs["auxiliary_signals"] = list(answer.estimates.rdf)


def _group(parent: h5py.Group, name: str, kind: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = kind
    return group


def _plot(
    data: h5py.Group, axis: str, x: np.ndarray, signal: str, y: np.ndarray, *, unit: str
) -> None:
    data[axis], data[signal] = x, y
    data[axis].attrs["units"] = unit
    data[signal].attrs["signal"] = 1  # how NXxasproc of before NXdata's attributes tells
    data.attrs["signal"], data.attrs["axes"] = signal, [axis]


def _write_scalars(
    group: h5py.Group, values: Mapping[str, Any], *, units: Mapping[str, str] | None = None
) -> None:
    for name, value in values.items():
        if isinstance(value, bool | int | float | str | np.generic):
            place = _free_name(group, name)
            group[place] = _text(value) if isinstance(value, str) else value
            if unit := (units or {}).get(name):
                group[place].attrs["units"] = unit


def _free_name(group: h5py.Group, text: str) -> str:
    """Return the name in HDF5, where a slash would make a group: ``a/b`` may meet ``a_b``."""
    name = text.replace("/", "_").replace("\0", "_") or "_"
    while name in group:
        name += "_"
    return name


def _text(value: str) -> str:
    return value.replace("\0", "�")  # which ends a text in HDF5


def _write_time(group: h5py.Group, name: str, answer: Answer) -> None:
    if measured := iso(answer.time):
        group[name] = measured
