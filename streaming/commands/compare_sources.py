"""The spectra of ``nearedge compare``: of files, results, runs and maps, by whatever name."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from nearedge.callbacks.normalise import normalise
from nearedge.models import NormalisedSpectrum, Rejected, Technique
from nearedge.models.comparing.common import CompareError, NamedSpectrum
from nearedge.streaming.answers.figures import stored_figures
from nearedge.streaming.answers.merging import name_of, sources_text
from nearedge.streaming.commands.file_list import distinct, files_of
from nearedge.streaming.settings.profile import Profile
from nearedge.streaming.sources.files import read_spectra

if TYPE_CHECKING:  # Tiled takes a second, and files need none
    from nearedge.streaming.catalog.maps import Maps, StoredMap
    from nearedge.streaming.catalog.results import Result, Results

LATEST = "latest"
MOST_PIXELS = 4096
"""Pixels that are taken of a map, evenly over it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComparedSpectrum(NamedSpectrum):
    """A spectrum with what the model said of it.

    Attributes
    ----------
    key
        Its name in the catalog; None for a file.
    figures
        Plain figures of the model's answer (`nearedge.streaming.answers.figures`); empty where
        there is none.
    """

    key: str | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)

    def mean(self, name: str) -> float | None:
        """Return the mean of a figure; None where there is none."""
        found = (self.figures.get(name) or {}).get("mean")
        return None if found is None else float(found)


class Sources:
    """Finds spectra; the catalog is opened when a name is no file.

    Parameters
    ----------
    profile
        How files are read, and where the catalog is.

    Attributes
    ----------
    left_out
        What was found and has no spectrum, and why.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._stack = ExitStack()
        self._boxes: tuple[Results, Maps] | None = None
        self.left_out: list[str] = []

    def __enter__(self) -> "Sources":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def find(self, names: Sequence[str]) -> list[ComparedSpectrum]:
        """Return the spectra of all names, in order.

        Parameters
        ----------
        names
            Files, folders and patterns; ``latest``, the key of a result, a scan number, the uid of
            a run, or the key of a map.

        Raises
        ------
        FileNotFoundError
            If a name is neither a file nor in the catalog.
        """
        return list(_distinct(one for name in names for one in self._of(name)))

    def _of(self, name: str) -> list[ComparedSpectrum]:
        if _is_path(name):
            return self._of_files(files_of([name]))
        results, maps = self._catalog()
        for found in (_of_results(results, name), _of_map(maps, name)):
            if found:
                return found
        raise FileNotFoundError(
            f"found no file {name!r}, and nothing of that name in the catalog; expected a file, "
            "'latest', the key of a result or a map, a scan number or the uid of a run"
        )

    def _of_files(self, paths: Sequence[Path]) -> list[ComparedSpectrum]:
        instrument = self._profile.instrument
        read = distinct((path, one) for path in paths for one in read_spectra(path, instrument))
        found = []
        for one in read:
            spectrum: NormalisedSpectrum | Rejected
            if isinstance(one.spectrum, Rejected):
                spectrum = one.spectrum
            else:
                spectrum = normalise(one.spectrum, instrument.normalise)
            if isinstance(spectrum, Rejected):
                self.left_out.append(f"{one.id}: {spectrum.detail}")
            else:
                found.append(ComparedSpectrum(name=one.id, spectrum=spectrum))
        return found

    def _catalog(self) -> "tuple[Results, Maps]":
        from nearedge.streaming.catalog.maps import Maps
        from nearedge.streaming.catalog.results import Results
        from nearedge.streaming.commands.opening import connected, maps_box, results_box

        if self._boxes is None:
            server = self._stack.enter_context(connected(self._profile))
            boxes = results_box(self._profile, server), maps_box(self._profile, server)
            for box in boxes:
                self._stack.callback(box.context.http_client.close)
            self._boxes = Results(boxes[0]), Maps(boxes[1])
        return self._boxes


def _distinct(some: Iterable[ComparedSpectrum]) -> Iterator[ComparedSpectrum]:
    """Give a number to spectra of one name, such as two runs with one scan number."""
    seen = Counter[str]()
    for one in some:
        seen[one.name] += 1
        count = seen[one.name]
        yield one if count == 1 else replace(one, name=f"{one.name} ({count})")


def _is_path(name: str) -> bool:
    """Tell a file, folder or pattern from a name in the catalog."""
    path = Path(name).expanduser()
    return (
        path.exists() or bool(path.suffix) or len(path.parts) > 1 or any(c in name for c in "*?[")
    )


def _of_results(results: "Results", name: str) -> list[ComparedSpectrum]:
    """Return the results of a name, the oldest first."""
    if name == LATEST:
        latest = results.latest()
        return [] if latest is None else [_of_result(latest)]
    try:
        if (one := results[name]).status == "complete":
            return [_of_result(one)]
    except KeyError:
        pass
    found = _newest(results.search(raw_uid=name))
    if not found and name.isdecimal():  # a scan number may come again: the latest run is meant
        found = _newest(results.search(scan_id=int(name)))
        run = found[0].metadata["raw"]["uid"] if found else None
        found = [one for one in found if one.metadata["raw"]["uid"] == run]
    ordered = sorted(found, key=lambda one: (one.metadata["measured"], _frame(one)))
    return [_of_result(one) for one in ordered]


def _newest(results: "Iterator[Result]") -> "list[Result]":
    """Return one result of each spectrum, the first: others are of other models or settings."""
    newest: dict[tuple[str, ...], Result] = {}
    for one in results:
        raw = one.metadata["raw"]
        newest.setdefault((raw["uid"], raw["stream"], raw["spectrum"]), one)
    return list(newest.values())


def _frame(result: "Result") -> int:
    """Return the number of a spectrum within its run."""
    last = str(result.metadata["raw"]["spectrum"]).rpartition(".")[2]
    return int(last) if last.isdecimal() else 0


def _of_result(result: "Result") -> ComparedSpectrum:
    raw, merged = result.metadata["raw"], result.metadata.get("merged_from")
    if merged:
        name = f"merge of {sources_text(merged)}"
    else:
        name = name_of(
            {"scan_id": raw["scan_id"], "run_uid": raw["uid"], "spectrum": raw["spectrum"]}
        )
    return ComparedSpectrum(
        name=f"{name} {raw['sample']}" if raw.get("sample") else name,
        spectrum=result.spectrum,
        key=result.key,
        figures=stored_figures(result.metadata),
    )


def _of_map(maps: "Maps", name: str) -> list[ComparedSpectrum]:
    """Return the answered pixels of a map, by its key or the uid of its run."""
    try:
        one = maps[name]
    except KeyError:
        found = next(maps.search(raw_uid=name), None)
        if found is None:
            return []
        one = found
    return list(_pixels(one))


def _pixels(stored: "StoredMap") -> Iterator[ComparedSpectrum]:
    metadata, energy = stored.metadata, stored["energy"].astype(float)
    norm = stored["norm"].reshape(-1, len(energy)).astype(float)
    names = ("e0", "edge_step", "energy_shift", "cn_mean", "bond")
    values = {name: stored[name].ravel().astype(float) for name in names}
    whole = (stored["reason"].ravel() == -1) & np.isfinite(norm).all(axis=1)
    rows = np.flatnonzero(whole)
    if not len(rows):
        raise CompareError(f"found no pixel with a whole spectrum in the map {stored.key}")
    rows = rows[:: -(-len(rows) // MOST_PIXELS)]
    for row in rows:
        place = ", ".join(str(i) for i in np.unravel_index(row, stored.shape))
        yield ComparedSpectrum(
            name=f"pixel {place}",
            spectrum=NormalisedSpectrum(
                energy=energy + values["energy_shift"][row],
                mu=norm[row],
                norm=norm[row],
                flat=norm[row],
                e0=values["e0"][row],
                edge_step=values["edge_step"][row],
                technique=Technique(metadata["technique"]),
                absorber=metadata["absorber"],
                edge=metadata["edge"],
            ),
            figures={"cn": _mean(values["cn_mean"][row]), "bond": _mean(values["bond"][row])},
        )


def _mean(value: float) -> dict[str, float] | None:
    return {"mean": float(value)} if np.isfinite(value) else None
