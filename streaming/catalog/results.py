"""Read results back: clusters, estimates and spectra out of the catalog.

>>> results = Results.open("http://127.0.0.1:8000/api/v1", api_key="secret")  # doctest: +SKIP
>>> result = results.latest()  # doctest: +SKIP
>>> print(result.extended_xyz())  # doctest: +SKIP
"""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from tiled.queries import Comparison, Contains, Key, SpecsQuery

from nearedge.models import (
    Estimates,
    Interval,
    NormalisedSpectrum,
    Reason,
    Rejected,
    Samples,
    Technique,
)
from nearedge.streaming.answers import clusters
from nearedge.streaming.answers.figures import INTERVALS
from nearedge.streaming.answers.merging import STREAM as MERGED
from nearedge.streaming.catalog import layout
from nearedge.streaming.catalog.connection import Client, connect
from nearedge.streaming.catalog.elements import symbols_of
from nearedge.streaming.catalog.entry import Entry
from nearedge.streaming.catalog.layout import ENSEMBLE_SPEC, REJECTED_SPEC, Provenance
from nearedge.streaming.catalog.paging import keys_of
from nearedge.streaming.catalog.result_writer import ResultWriter
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.key import result_key, seed_of

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Molecule, Structure

__all__ = [
    "Provenance",
    "RejectedResult",
    "Result",
    "ResultWriter",
    "Results",
    "result_key",
    "seed_of",
]


class ResultEntry(Entry):
    """What every entry of results has (docs/results.md)."""

    @property
    def status(self) -> str:
        """Return ``complete``, ``rejected`` or ``writing``."""
        return str(self.metadata["status"])

    @property
    def runs(self) -> list[str]:
        """The uids of the raw runs: one, or those of a merge."""
        raw = self.metadata["raw"]
        return list(raw.get("uids") or [raw["uid"]])

    @cached_property
    def raw(self) -> dict[str, np.ndarray]:
        """The measured columns by role, (n,) or (n, elements)."""
        columns = self.metadata["raw"]["columns"]
        return layout.raw_columns({k: (self._array(k), labels) for k, labels in columns.items()})

    def _array(self, name: str) -> np.ndarray:
        return np.asarray(self._node[name].read())


class RejectedResult(ResultEntry):
    """A measurement that was not inverted."""

    @property
    def rejected(self) -> Rejected:
        """Why."""
        return Rejected(reason=Reason(self.metadata["reason"]), detail=self.metadata["detail"])


class Result(ResultEntry):
    """An answer: arrays are read from the server when they are asked for, and once."""

    @cached_property
    def spectrum(self) -> NormalisedSpectrum:
        """The spectrum that was inverted."""
        rows = dict(zip(layout.SPECTRUM_ROWS, self._array("spectrum"), strict=True))
        metadata, numbers = self.metadata, dict(self.metadata["normalisation"])
        return NormalisedSpectrum(
            **rows,
            **(numbers | {name: tuple(numbers.get(name, ())) for name in ("flags", "elements")}),
            technique=Technique(metadata["technique"]),
            absorber=metadata["absorber"],
            edge=metadata["edge"],
        )

    @cached_property
    def positions(self) -> np.ndarray:
        """(samples, atoms, 3) Å, the absorber at the origin and not listed."""
        return self._array("positions")

    @cached_property
    def species(self) -> np.ndarray:
        """(samples, atoms) chemical symbols."""
        return symbols_of(self._array("species"))

    @cached_property
    def samples(self) -> Samples:
        """The clusters and their weights."""
        weights = self._per_sample["weight"]
        return Samples(species=self.species, positions=self.positions, weights=weights)

    @cached_property
    def estimates(self) -> Estimates:
        """The figures drawn from the samples."""
        cn, per_sample, rdf = self.metadata["cn"], self._per_sample, self._array("rdf")
        return Estimates(
            cn_prob=np.array(cn["prob"], float),
            cn_mean=cn["mean"],
            cn_mean_lo=cn.get("mean_lo"),
            cn_mean_hi=cn.get("mean_hi"),
            cn_map=cn["map"],
            cn_set=tuple(cn["set"]),
            **{name: self._interval(name) for name in INTERVALS},
            sample_cn=per_sample["cn"].astype(np.int64),
            sample_bond=per_sample["bond"],
            sample_angle=per_sample["angle"],
            rdf_r=rdf[0],
            rdf=dict(zip(self.metadata["rdf_species"], rdf[1:], strict=True)),
        )

    @cached_property
    def fit(self) -> dict[str, np.ndarray] | None:
        """The spectrum as the model read it beside the one that the clusters imply.

        (g,) arrays ``energy`` (eV from e0), ``measured`` (NaN where nothing was) and ``implied``;
        None where the model has no forward part.
        """
        if self.metadata["misfit"] is None:
            return None
        return dict(zip(layout.FIT_ROWS, self._array("fit"), strict=True))

    def molecule(self, sample: int = 0) -> "Molecule":
        """Return a sample as a pymatgen Molecule, the absorber first."""
        return clusters.molecule(self.samples, sample, absorber=self.metadata["absorber"])

    def structure(self, sample: int = 0) -> "Structure":
        """Return a sample as a pymatgen Structure: in a box with the absorber at its centre."""
        return clusters.structure(self.samples, sample, absorber=self.metadata["absorber"])

    def atoms(self, sample: int = 0) -> "Atoms":
        """Return a sample as ASE Atoms, the absorber first and no box; needs the extra ``ase``."""
        return clusters.atoms(self.samples, sample, absorber=self.metadata["absorber"])

    def extended_xyz(self, sample: int | None = None) -> str:
        """Return one sample, or all of them, as extended XYZ, which ASE and OVITO read."""
        info = {
            "key": self.key,
            "raw_uid": " ".join(self.runs),
            "edge": self.metadata["edge"],
            "model": self.metadata["model"],
        }
        return clusters.extended_xyz(
            self.samples,
            sample,
            absorber=self.metadata["absorber"],
            info=info,
            per_sample=self._per_sample,
        )

    @cached_property
    def _per_sample(self) -> dict[str, np.ndarray]:
        return dict(zip(layout.PER_SAMPLE_ROWS, self._array("per_sample"), strict=True))

    def _interval(self, name: str) -> Interval | None:
        interval = self.metadata[name]
        return None if interval is None else Interval(**interval)


class Results:
    """The results in one container; those that are still being written are left out.

    Parameters
    ----------
    container
        Tiled client of the container.

    Attributes
    ----------
    container
        That client.
    """

    def __init__(self, container: Client) -> None:
        self.container = container

    @classmethod
    def open(cls, uri: str, *, api_key: str | None = None, name: str = "inversions") -> "Results":
        """Connect to the container of that name on the server at that address."""
        return cls(connect(uri, api_key=api_key)[name])

    def __getitem__(self, key: str) -> Result:
        return Result(self.container[key])

    def get(self, key: str) -> Result | RejectedResult | None:
        """Return what is stored under a key; None where nothing is, or is still being written."""
        if key not in self.container:
            return None
        node = self.container[key]
        status = node.metadata.get("status")
        if status == State.COMPLETE:
            return Result(node)
        return RejectedResult(node) if status == State.REJECTED else None

    def merges(self, *, raw_uid: str | None = None) -> Iterator[Result]:
        """Yield the merges, those of a run alone if its uid is given, the latest first."""
        found = self._of(ENSEMBLE_SPEC, State.COMPLETE).search(Key("raw.stream") == MERGED)
        found = found if raw_uid is None else found.search(Contains("raw.uids", raw_uid))
        yield from map(Result, found.sort(("written", -1)).values())

    def latest(self) -> Result | None:
        """Return the answer that was written last, or None."""
        return next(self.search(), None)

    def search(
        self,
        *,
        raw_uid: str | None = None,
        scan_id: int | None = None,
        absorber: str | None = None,
        edge: str | None = None,
        cn_min: float | None = None,
        cn_max: float | None = None,
        bond_min: float | None = None,
        bond_max: float | None = None,
        ood: bool | None = None,
        model: str | None = None,
        since: float | None = None,
    ) -> Iterator[Result]:
        """Yield the answers that match everything given, the latest first.

        Parameters
        ----------
        raw_uid, scan_id
            The uid and the scan id of the raw run.
        absorber, edge, model
            As in the metadata.
        cn_min, cn_max, bond_min, bond_max
            Bounds, themselves included, on the means; bonds in Å.
        ood
            Whether flagged as out of the model's distribution.
        since
            When the measurement ended at the earliest, seconds since the epoch.
        """
        equal: dict[str, Any] = {
            "raw.uid": raw_uid,
            "raw.scan_id": scan_id,
            "absorber": absorber,
            "edge": edge,
            "ood.flag": ood,
            "model": model,
        }
        bounds = [
            ("ge", "cn.mean", cn_min),
            ("le", "cn.mean", cn_max),
            ("ge", "bond.mean", bond_min),
            ("le", "bond.mean", bond_max),
            ("ge", "measured", since),
        ]
        found = self._of(ENSEMBLE_SPEC, State.COMPLETE)
        for name, value in equal.items():
            found = found if value is None else found.search(Key(name) == value)
        for operator, name, bound in bounds:
            found = found if bound is None else found.search(Comparison(operator, name, bound))
        yield from map(Result, found.sort(("written", -1)).values())

    def rejected(self, *, raw_uid: str | None = None) -> Iterator[RejectedResult]:
        """Yield the measurements that were not inverted, the latest first."""
        found = self._of(REJECTED_SPEC, State.REJECTED)
        found = found if raw_uid is None else found.search(Key("raw.uid") == raw_uid)
        yield from map(RejectedResult, found.sort(("written", -1)).values())

    def finished(self) -> Iterator[tuple[str, State]]:
        """Yield key and state of everything that is complete or rejected."""
        for status in (State.COMPLETE, State.REJECTED):
            # keys alone: their metadata are slow to send
            for key in keys_of(self.container.search(Key("status") == str(status))):
                yield key, status

    def _of(self, spec: str, status: State) -> Any:
        found = self.container.search(SpecsQuery(include=[spec]))
        return found.search(Key("status") == str(status))
