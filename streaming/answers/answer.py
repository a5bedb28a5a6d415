"""A complete answer with where it comes from: what is shown, plotted and exported.

The same value is made of a row that the service has just finished and of a stored result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np

from nearedge.models import Array, Estimates, Inversion, NormalisedSpectrum, Samples
from nearedge.models.inversion import Quality
from nearedge.streaming.ledger.row import Row

OUT_OF_DISTRIBUTION = "out-of-distribution"


class StoredAnswer(Protocol):
    """An answer that a catalog holds, as `nearedge.streaming.Results` yields it."""

    @property
    def key(self) -> str:
        """Its name in the catalog."""

    @property
    def metadata(self) -> dict[str, Any]:
        """All that can be searched (docs/results.md)."""

    @property
    def spectrum(self) -> NormalisedSpectrum:
        """The spectrum that was inverted."""

    @property
    def samples(self) -> Samples:
        """The clusters and their weights."""

    @property
    def estimates(self) -> Estimates:
        """The figures drawn from the samples."""

    @property
    def raw(self) -> dict[str, np.ndarray]:
        """The measured columns by role."""

    @property
    def fit(self) -> dict[str, np.ndarray] | None:
        """Arrays ``energy``, ``measured`` and ``implied``; None without a forward part."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """The spectrum, its clusters and figures, and how they came about.

    Attributes
    ----------
    key
        Name of the result.
    run_uid, scan_id, stream, name
        The raw run, its stream, and the spectrum's name within it.
    time
        When the measurement ended, seconds since the epoch.
    spectrum, samples, estimates
        What was inverted, the clusters, and the figures drawn from them.
    misfit, ood_score, ood_flag, seed, quality, flags
        As in `nearedge.models.Inversion`; the flags are also the measurement's.
    model, config, code
        Digests of weights and settings (None where not known), and the version of nearedge.
    context, units, sample
        Single numbers that belong to the spectrum, their units, and the sample's name, as far as
        known.
    columns, darks
        The measured columns by role, (n,) or (n, elements), and the uids of the dark runs.
    grid, condition
        (g,) eV from e0 and what the model read there.
    implied
        (g,) the spectrum that the clusters imply. All three are None for a stored result of a
        model without a forward part.
    usual_misfit
        As in `nearedge.models.Inversion`.
    merged_from
        As in `nearedge.callbacks.measurement.Measurement`.
    """

    key: str
    run_uid: str
    scan_id: int | None
    stream: str
    name: str
    time: float
    spectrum: NormalisedSpectrum
    samples: Samples
    estimates: Estimates
    misfit: float | None
    ood_score: float
    ood_flag: bool
    seed: int
    quality: str
    flags: tuple[str, ...]
    model: str
    config: str | None = None
    code: str = field(default_factory=lambda: version("nearedge"))
    context: Mapping[str, Any] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    sample: str | None = None
    columns: Mapping[str, Array] = field(default_factory=dict)
    darks: tuple[str, ...] = ()
    grid: Array | None = None
    condition: Array | None = None
    implied: Array | None = None
    usual_misfit: tuple[float, float] | None = None
    merged_from: tuple[Mapping[str, Any], ...] = ()

    @property
    def absorber(self) -> str:
        """Symbol of the absorbing element."""
        return self.spectrum.absorber

    @property
    def edge(self) -> str:
        """Its edge."""
        return self.spectrum.edge

    @property
    def runs(self) -> tuple[str, ...]:
        """The uids of the raw runs: one, or those of a merge."""
        merged = dict.fromkeys(one["run_uid"] for one in self.merged_from)
        return tuple(merged) or (self.run_uid,)

    @property
    def scans(self) -> tuple[int | None, ...]:
        """Their scan ids: one, or those of a merge."""
        merged = dict.fromkeys(one["scan_id"] for one in self.merged_from)
        return tuple(merged) or (self.scan_id,)

    @property
    def doubts(self) -> tuple[str, ...]:
        """All that speaks against relying on it: the flags, that of the score among them."""
        foreign = (OUT_OF_DISTRIBUTION,) if self.ood_flag else ()
        return tuple(dict.fromkeys((*foreign, *self.flags)))


def answer_of_row(row: Row) -> Answer | None:
    """Return the answer of a row of the service, or None when it has none."""
    inversion, spectrum = row.inversion, row.outcome
    if inversion is None or not isinstance(spectrum, NormalisedSpectrum):
        return None
    measurement = row.measurement
    return Answer(
        key=row.key,
        run_uid=measurement.run.uid,
        scan_id=measurement.run.scan_id,
        stream=measurement.stream,
        name=measurement.spectrum,
        time=measurement.time,
        spectrum=spectrum,
        flags=row.flags,
        context=measurement.context,
        units=measurement.units,
        sample=measurement.run.sample,
        columns=measurement.columns,
        darks=tuple(measurement.dark_runs),
        merged_from=measurement.merged_from,
        **_inverted(inversion),
    )


def _inverted(inversion: Inversion) -> dict[str, Any]:
    same = (
        *("samples", "estimates", "misfit", "ood_score", "ood_flag", "seed", "model"),
        *("grid", "condition", "implied", "usual_misfit"),
    )
    return {
        **{name: getattr(inversion, name) for name in same},
        "quality": inversion.quality.value,
    }


def answer_of_result(result: StoredAnswer) -> Answer:
    """Return the answer that the catalog holds; this reads its arrays."""
    metadata = result.metadata
    raw, fit = metadata["raw"], result.fit or {}
    return Answer(
        key=result.key,
        run_uid=raw["uid"],
        scan_id=raw["scan_id"],
        stream=raw["stream"],
        name=raw["spectrum"],
        time=metadata["measured"],
        spectrum=result.spectrum,
        samples=_without_placeholders(result.samples),
        estimates=result.estimates,
        misfit=metadata["misfit"],
        ood_score=metadata["ood"]["score"],
        ood_flag=metadata["ood"]["flag"],
        seed=int(metadata["seed"]),
        quality=Quality(metadata["quality"]).value,
        flags=tuple(metadata["flags"]),
        model=metadata["model"],
        config=metadata["config"],
        code=metadata["code"],
        context=metadata["context"],
        units=metadata.get("units", {}),
        sample=raw.get("sample"),
        columns=result.raw,
        darks=tuple(raw.get("darks") or ()),
        grid=fit.get("energy"),
        condition=fit.get("measured"),
        implied=fit.get("implied"),
        usual_misfit=ends_of(metadata.get("usual_misfit")),
        merged_from=tuple(metadata.get("merged_from") or ()),
    )


def ends_of(stored: Sequence[float] | None) -> tuple[float, float] | None:
    """Return both ends of a stored range; None where there is none."""
    return None if stored is None else (float(stored[0]), float(stored[1]))


def _without_placeholders(samples: Samples) -> Samples:
    """Return the samples with places that hold no atom written as the model writes them."""
    return replace(samples, species=np.where(samples.species == "X", "", samples.species))
