"""How a result lies in the catalog: the names in its metadata and the arrays under it.

docs/results.md describes it for readers.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from nearedge.callbacks.measurement import Measurement
from nearedge.models import Inversion, NormalisedSpectrum, Rejected
from nearedge.streaming.answers.figures import FIGURES, per_sample, plain_figures
from nearedge.streaming.answers.plain import plain
from nearedge.streaming.catalog.elements import numbers_of

VERSION = "1.0"
ENSEMBLE_SPEC = "ClusterEnsemble"
REJECTED_SPEC = "RejectedSpectrum"

SPECTRUM_ROWS = ("energy", "mu", "norm", "flat")
PER_SAMPLE_ROWS = ("weight", *(one.name for one in FIGURES if one.per_sample))
FIT_ROWS = ("energy", "measured", "implied")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What else made a result.

    Attributes
    ----------
    config
        Digest of the settings.
    code
        Version of nearedge.
    timings
        Seconds spent in each stage.
    written
        When it is written, seconds since the epoch.
    """

    config: str
    code: str
    written: float
    timings: Mapping[str, float] = field(default_factory=dict)


def ensemble_metadata(
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    inversion: Inversion,
    provenance: Provenance,
) -> dict[str, Any]:
    """Return the searchable part of an answer."""
    figures = plain_figures(inversion)
    return plain(
        {
            **_common(measurement, provenance),
            "technique": spectrum.technique,
            "absorber": inversion.absorber,
            "edge": inversion.edge,
            **figures,
            "cn": {**figures["cn"], "prob": inversion.estimates.cn_prob},
            "usual_misfit": inversion.usual_misfit,
            "flags": all_flags(measurement.flags, spectrum.flags, inversion.flags),
            "normalisation": normalisation(spectrum),
            "model": inversion.model,
            "seed": inversion.seed,
            "quality": inversion.quality,
            "samples": len(inversion.samples.weights),
            "rdf_species": list(inversion.estimates.rdf),
        }
    )


def rejected_metadata(
    measurement: Measurement, rejected: Rejected, provenance: Provenance
) -> dict[str, Any]:
    """Return the searchable part of a rejection."""
    return plain(
        {
            **_common(measurement, provenance),
            "reason": rejected.reason,
            "detail": rejected.detail,
            "flags": measurement.flags,
        }
    )


def _common(measurement: Measurement, provenance: Provenance) -> dict[str, Any]:
    run = measurement.run
    return {
        "raw": {
            "uid": run.uid,
            "scan_id": run.scan_id,
            "time": run.time,
            "sample": run.sample,
            "stream": measurement.stream,
            "spectrum": measurement.spectrum,
            "complete": measurement.complete,
            "unlike": measurement.unlike,
            "darks": measurement.dark_runs,
            "columns": {name: labels for name, (_, labels) in raw_arrays(measurement).items()},
            **_raw_runs(measurement),
        },
        **_merged_from(measurement),
        "measured": measurement.time,
        "context": measurement.context,
        "units": measurement.units,
        **asdict(provenance),
    }


def _raw_runs(measurement: Measurement) -> dict[str, Any]:
    """Return the runs of a merge; what was measured has the one of ``uid``."""
    runs = dict.fromkeys(one["run_uid"] for one in measurement.merged_from)
    return {"uids": list(runs)} if runs else {}


def _merged_from(measurement: Measurement) -> dict[str, Any]:
    """Return the spectra of a merge and their parts in it."""
    return {"merged_from": list(measurement.merged_from)} if measurement.merged_from else {}


def normalisation(spectrum: NormalisedSpectrum) -> dict[str, Any]:
    """Return the numbers that made a normalised spectrum."""
    return {
        "e0": spectrum.e0,
        "edge_step": spectrum.edge_step,
        "energy_shift": spectrum.energy_shift,
        "elements": spectrum.elements,
        "complete": spectrum.complete,
        "parameters": spectrum.parameters,
        "flags": spectrum.flags,
    }


def all_flags(*flags: Iterable[str]) -> list[str]:
    """Return each flag once, in order."""
    return list(dict.fromkeys(flag for some in flags for flag in some))


def ensemble_arrays(
    measurement: Measurement, spectrum: NormalisedSpectrum, inversion: Inversion
) -> dict[str, np.ndarray]:
    """Return the arrays of an answer by name: few, since each costs two requests."""
    samples, estimates = inversion.samples, inversion.estimates
    rows = per_sample(samples.weights, estimates)
    return {
        "spectrum": np.stack([getattr(spectrum, row) for row in SPECTRUM_ROWS]),
        "positions": np.asarray(samples.positions, np.float32),
        "species": numbers_of(samples.species),
        "per_sample": np.stack([np.asarray(rows[name], np.float64) for name in PER_SAMPLE_ROWS]),
        "rdf": np.stack([estimates.rdf_r, *estimates.rdf.values()]),
        **_fit(inversion),
        **{name: array for name, (array, _) in raw_arrays(measurement).items()},
    }


def _fit(inversion: Inversion) -> dict[str, np.ndarray]:
    if inversion.misfit is None or inversion.implied is None:
        return {}
    return {"fit": np.stack([inversion.grid, inversion.condition, inversion.implied])}


def raw_arrays(measurement: Measurement) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Return the measured columns, those of one length stacked, and the names of their rows.

    A column ``if`` of a detector with several elements (n, elements) becomes rows ``if[0]`` …
    """
    stacks: dict[int, tuple[list[np.ndarray], list[str]]] = {}
    for name, column in measurement.columns.items():
        for label, row in _rows(name, np.asarray(column)):
            rows, labels = stacks.setdefault(len(row), ([], []))
            rows.append(row)
            labels.append(label)
    stacks.pop(0, None)
    names = ["raw", *(f"raw_{i}" for i in range(2, len(stacks) + 1))]
    return {
        name: (np.stack(rows).astype(np.float64), labels)
        for name, (rows, labels) in zip(names, stacks.values(), strict=False)
    }


def _rows(name: str, column: np.ndarray) -> Iterable[tuple[str, np.ndarray]]:
    if column.dtype.kind not in "biuf":
        return
    if column.ndim <= 1:
        yield name, np.atleast_1d(column)
    else:
        flat = column.reshape(len(column), -1)
        yield from ((f"{name}[{i}]", flat[:, i]) for i in range(flat.shape[1]))


def raw_columns(stacks: Mapping[str, tuple[np.ndarray, list[str]]]) -> dict[str, np.ndarray]:
    """Return the columns that `raw_arrays` stacked, multi-element ones as (n, elements)."""
    elements: dict[str, list[np.ndarray]] = {}
    columns: dict[str, np.ndarray] = {}
    for array, labels in stacks.values():
        for row, label in zip(array, labels, strict=True):
            if match := re.fullmatch(r"(.*)\[\d+\]", label):
                elements.setdefault(match[1], []).append(row)
            else:
                columns[label] = row
    return columns | {name: np.stack(rows, axis=1) for name, rows in elements.items()}
