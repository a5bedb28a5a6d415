"""Every flag of docs/flags.md, from the input that raises it to all that a scientist reads."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import event_model
import numpy as np
import pytest

from nearedge.callbacks.composition import formula_of
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.recognise import Kind, recognise
from nearedge.callbacks.reduce import reduce
from nearedge.models import Quality, Spectrum
from nearedge.models.answering.card import shipped
from nearedge.streaming.answers.forms import EXPORTS
from nearedge.streaming.answers.trend import trend_csv
from nearedge.streaming.catalog.history import History
from nearedge.streaming.catalog.storing import Storing
from nearedge.streaming.commands.inverting import InvertOptions, invert
from nearedge.streaming.commands.saving import Saving
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.page.feed import Feed
from nearedge.streaming.page.lookup import Lookup
from nearedge.streaming.service.method import Method
from nearedge.streaming.service.service import Audience, Service
from nearedge.streaming.settings.profile import Profile
from nearedge.streaming.sources.files import FileSpectrum

FLAGS = Path(__file__).parents[2] / "docs" / "flags.md"
ENERGY = 1840.0 + np.concatenate(
    [np.arange(-30, -5, 2.5), np.arange(-5, 15, 0.4), np.arange(15, 60, 1.5)]
)
#: What only an answer has, no spectrum that was read from a file.
OF_THE_SERVICE = {"degraded"}


def edge(energy: np.ndarray) -> np.ndarray:
    x = energy - 1846.0
    step = np.arctan(x / 0.5) / np.pi + 0.5
    return 0.3 + step + 1.2 * np.exp(-(((x - 1.0) / 1.2) ** 2)) + 0.1 * step * np.sin(x / 4)


def chambers(energy: np.ndarray, mu: np.ndarray, **more: Any) -> list[dict[str, Any]]:
    """Return the readings of a scan in transmission."""
    return [
        {"mono": float(e), "i0": 1e6, "it": float(1e6 * np.exp(-m)), **more}
        for e, m in zip(energy, mu, strict=True)
    ]


TRANSMISSION = {"roles": {"energy": "mono", "i0": "i0", "it": "it", "ir": "ir"}}
FLUORESCENCE = {
    "signal": "fluorescence",
    "roles": {"energy": "mono", "i0": "i0", "if_": ["iff"]},
}
CAMERA = {
    "technique": "eels",
    "signal": "spectrum",
    "finish": {"when": "event"},
    "roles": {"spectrum": "cam", "offset": 1780.0, "dispersion": 0.5, "low_loss": "low"},
}
CHANNELS = 1780.0 + 0.5 * np.arange(240)


def core_loss(background: np.ndarray, **more: Any) -> list[dict[str, Any]]:
    x = CHANNELS - 1846.0
    step = np.arctan(x / 0.5) / np.pi + 0.5 + 1.2 * np.exp(-(((x - 1.0) / 1.2) ** 2))
    return [{"cam": background + 2e4 * step, **more}]


@dataclass
class Case:
    """An input that raises one flag.

    Attributes
    ----------
    readings
        Of the run, one event each.
    instrument
        Section of the profile.
    change
        Changes the run's documents.
    before
        Readings of a dark run before it.
    settings
        Of the worker.
    external
        Keys whose readings lie in a file.
    formula
        Of the sample, as the run says it.
    """

    readings: list[dict[str, Any]] = field(default_factory=lambda: chambers(ENERGY, edge(ENERGY)))
    instrument: dict[str, Any] = field(default_factory=lambda: TRANSMISSION)
    change: Callable[[list], list] = lambda documents: documents
    before: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    external: tuple[str, ...] = ()
    formula: str = ""

    def documents(self) -> list[tuple[str, dict[str, Any]]]:
        dark = (
            run_of(self.before, time=50.0, metadata={"dark_frame": True, "scan_id": 0})
            if self.before
            else []
        )
        about = {"formula": self.formula}
        scan = run_of(self.readings, external=self.external, metadata=about)
        return [*dark, *self.change(scan)]


def run_of(
    readings: list[dict[str, Any]],
    *,
    time: float = 1e5,
    metadata: dict[str, Any] | None = None,
    external: tuple[str, ...] = (),
) -> list[tuple[str, dict[str, Any]]]:
    run = event_model.compose_run(metadata={"scan_id": 1, **(metadata or {})}, time=time)
    documents = [("start", run.start_doc)]
    keys = {
        key: {
            "source": "test",
            "dtype": "array" if np.shape(value) else "number",
            "shape": list(np.shape(value)),
            **({"external": "FILESTORE:"} if key in external else {}),
        }
        for key, value in readings[0].items()
    }
    stream = run.compose_descriptor(name="primary", data_keys=keys)
    documents.append(("descriptor", stream.descriptor_doc))
    for k, row in enumerate(readings, start=1):
        event = stream.compose_event(
            data=row,
            timestamps=dict.fromkeys(row, time + k),
            filled=dict.fromkeys(external, False),
            time=time + k,
            validate=False,
        )
        documents.append(("event", dict(event)))
    return [*documents, ("stop", dict(run.compose_stop(time=time + 1000.0)))]


def without(number: int) -> Callable[[list], list]:
    return lambda documents: [doc for k, doc in enumerate(documents) if k != number]


def stopped(documents: list) -> list:
    return [*documents[:-1], ("stop", {**documents[-1][1], "exit_status": "abort"})]


def in_a_file(documents: list) -> list:
    """Say that the readings of ``ir`` lie in a file that may not be read."""
    resource = {
        "uid": "r", "run_start": documents[0][1]["uid"], "spec": "AD_HDF5", "root": "/nowhere",
        "resource_path": "frames.h5", "resource_kwargs": {"path": "/entry"},
    }  # fmt: skip
    datums = [
        ("datum", {"resource": "r", "datum_id": f"r/{k}", "datum_kwargs": {"point_number": k}})
        for k in range(len(documents) - 3)
    ]
    return [documents[0], documents[1], ("resource", resource), *datums, *documents[2:]]


def clipped() -> list[dict[str, Any]]:
    """Return readings of a counter that ends at 65535, in a beam that fades."""
    beam = np.linspace(1e6, 0.9e6, len(ENERGY))
    counts = np.minimum(6e4 * edge(ENERGY) * beam / 1e6, 65535.0)
    rows = zip(ENERGY, beam, counts, strict=True)
    return [{"mono": float(e), "i0": float(i), "iff": float(c)} for e, i, c in rows]


def thick() -> list[dict[str, Any]]:
    """Return the fluorescence of a sample that takes up the whole beam."""
    norm = edge(ENERGY) - 0.3
    counts = 1e4 * norm * 2 / (1 + norm)
    rows = zip(ENERGY, counts, strict=True)
    return [{"mono": float(e), "i0": 1e6, "iff": float(c)} for e, c in rows]


def resized() -> list[dict[str, Any]]:
    """Return readings of four elements, once of three."""
    rows = [
        {"mono": float(e), "i0": 1e6, "iff": 1e3 * m * np.ones(4)}
        for e, m in zip(ENERGY, edge(ENERGY), strict=True)
    ]
    rows[40]["iff"] = np.ones(3)
    return rows


def dead_third() -> list[dict[str, Any]]:
    rows = resized()
    for row, m in zip(rows, edge(ENERGY), strict=True):
        row["iff"] = 1e3 * m * np.array([1.0, 1.0, 0.0, 1.0])
    return rows


def whole_spectra() -> list[dict[str, Any]]:
    """Return spectra of 200 channels of one element each."""
    rows = resized()
    for row, m in zip(rows, edge(ENERGY), strict=True):
        row["iff"] = m * np.full(200, 20.0)
    return rows


def shadowed(value: float) -> list[dict[str, Any]]:
    rows = chambers(ENERGY, edge(ENERGY))
    rows[5]["it"] = value
    return rows


def coarse() -> list[dict[str, Any]]:
    energy = ENERGY[(ENERGY < 1839.0) | (ENERGY > 1848.0)]
    return chambers(energy, edge(energy))


def fly_scan() -> list[dict[str, Any]]:
    energy = np.linspace(1810.0, 1900.0, 5400)
    return chambers(energy, edge(energy))


def repeated() -> list[dict[str, Any]]:
    twice = np.insert(ENERGY, 20, ENERGY[20])
    return chambers(twice, edge(twice))


def two_sweeps() -> list[dict[str, Any]]:
    """Return a sweep to and one fro, of another material."""
    white_line = 1.5 * np.exp(-(((ENERGY - 1850.0) / 3) ** 2))
    return [*chambers(ENERGY, edge(ENERGY)), *chambers(ENERGY, edge(ENERGY) + white_line)[::-1]]


def noisy() -> list[dict[str, Any]]:
    noise = np.random.default_rng(1).normal(0, 0.03, len(ENERGY))
    return chambers(ENERGY, edge(ENERGY) + noise)


LONG_FLAT = 1e5 * np.ones(len(CHANNELS))
DECAYING = 1e5 * (CHANNELS / 1780.0) ** -3.0
SHORT = ENERGY[ENERGY < 1840.0 + 30.0]
ODD = edge(ENERGY) + 0.8 * np.sin((ENERGY - 1846.0) / 2) * (ENERGY > 1856.0)
TWICE_AS_ODD = edge(ENERGY) + 1.2 * np.sin((ENERGY - 1846.0) / 2) * (ENERGY > 1856.0)

CASES = {
    "out-of-distribution": Case(readings=chambers(ENERGY, ODD)),
    "not-explained": Case(readings=chambers(ENERGY, TWICE_AS_ODD)),
    "unlike-averaged": Case(readings=two_sweeps()),
    "cn-undecided": Case(readings=chambers(ENERGY, edge(ENERGY))),
    "partial": Case(change=stopped),
    "short-post-edge": Case(readings=chambers(SHORT, edge(SHORT))),
    "noisy": Case(readings=noisy()),
    "maybe-saturated": Case(readings=clipped(), instrument=FLUORESCENCE),
    "maybe-self-absorbed": Case(readings=thick(), instrument=FLUORESCENCE, formula="SiO2"),
    "self-absorption-corrected": Case(
        readings=thick(),
        instrument=FLUORESCENCE | {"self_absorption": {"sample": "thick"}},
        formula="SiO2",
    ),
    "bad-points": Case(readings=shadowed(0.0)),
    "dead-element: 3": Case(readings=dead_third(), instrument=FLUORESCENCE),
    "no-region-of-interest": Case(readings=whole_spectra(), instrument=FLUORESCENCE),
    "glitches": Case(readings=shadowed(3e5)),
    "coarse-edge": Case(readings=coarse()),
    "maybe-uncalibrated": Case(readings=chambers(ENERGY + 16.0, edge(ENERGY))),
    "rebinned": Case(readings=fly_scan()),
    "dropped-rows": Case(readings=shadowed(float("nan"))),
    "odd-frames": Case(readings=resized(), instrument=FLUORESCENCE),
    "degraded": Case(settings={"degrade_after_s": 1e-9}),
    "merged-energies": Case(readings=repeated()),
    "dark-subtracted": Case(before=[{"mono": 0.0, "i0": 10.0, "it": 10.0}] * 3),
    "constant-background": Case(readings=core_loss(LONG_FLAT), instrument=CAMERA),
    "no-map": Case(
        readings=[{"mono": ENERGY, "i0": 1e6, "iff": 1e3 * np.array([edge(ENERGY)] * 4)}],
        instrument=FLUORESCENCE | {"finish": {"when": "pixel"}},
    ),
    "low-loss-without-axis": Case(readings=core_loss(DECAYING, low=np.ones(50)), instrument=CAMERA),
    "no-zero-loss": Case(
        readings=core_loss(DECAYING, low=np.ones(50)),
        instrument=CAMERA | {"roles": CAMERA["roles"] | {"low_loss_offset": -10.0}},
    ),
    "aborted": Case(change=stopped),
    "no-stop": Case(change=lambda documents: documents[:-1]),
    "gap": Case(change=without(12)),
    "truncated": Case(),
    "unreadable": Case(
        readings=[row | {"ir": f"r/{k}"} for k, row in enumerate(chambers(ENERGY, edge(ENERGY)))],
        change=in_a_file,
        external=("ir",),
    ),
    "unreadable-formula": Case(formula="sand from the beach"),
    "formula-without-absorber": Case(formula="Fe2O3"),
    "other-elements: Na": Case(formula="Na2SiO3"),
    "empty": Case(change=lambda documents: [*documents[:2], documents[-1]]),
}


def listed() -> list[str]:
    """Return the flags of the table."""
    table = FLAGS.read_text().partition("## Flags")[2].partition("## Reasons")[0]
    return re.findall(r"^\| `([^`]+)`", table, flags=re.MULTILINE)


def test_every_flag_of_the_table_is_walked():
    assert set(CASES) == set(listed()), "give each flag of docs/flags.md the input that raises it"


class Documents:
    silence = None

    def __init__(self, documents: list[tuple[str, dict[str, Any]]]) -> None:
        self._documents = documents

    def documents(self, on_loss=lambda: None):
        yield from self._documents

    def stop(self) -> None:
        pass


class InThisProcess:
    """The shipped model as a worker of the service."""

    problem = None

    blocks_at_once = 1

    def __init__(self) -> None:
        from nearedge.models.answering.inverter import Inverter

        self.inverter = Inverter.load("siox", device="cpu", threads=1)

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass

    def invert(self, spectra, *, seeds, keys=None, samples=4, quality=None):
        return self.inverter.invert(spectra, seeds=seeds, samples=4, quality=Quality.FAST)


@pytest.fixture(scope="module")
def worker() -> InThisProcess:
    if "siox" not in shipped():
        pytest.skip("no weights are shipped")
    return InThisProcess()


def service_of(case: Case, worker: InThisProcess, ledger: Ledger, put, rows: list) -> Service:
    settings = {"instrument": {**case.instrument, "partial_every_s": 0}, "worker": case.settings}
    profile = Profile.model_validate(settings)
    return Service(
        profile=profile,
        source=Documents(case.documents()),
        ledger=ledger,
        worker=worker,
        method=Method(
            instrument=profile.instrument,
            key=lambda measurement: measurement.run.uid.replace("-", ""),
            supports=worker.inverter.card.supports,
        ),
        put=put,
        audience=Audience(rows=[rows.append]),
    )


@pytest.mark.parametrize("flag", sorted(CASES))
def test_a_flag_reaches_everything_that_a_scientist_reads(
    flag, worker, tiled_client, tmp_path, monkeypatch
):
    if flag == "truncated":
        monkeypatch.setattr("nearedge.callbacks.streams.MAX_READINGS", len(ENERGY) - 5)
    rows, feed, ledger = [], Feed(), Ledger(tmp_path / "ledger.sqlite")
    put = Storing(lambda: tiled_client, config="c0ffee").put
    with service_of(CASES[flag], worker, ledger, put, rows) as service:
        assert service.drain(60)
    ledger.close()
    # not the dark run; and of a degraded one the quick answer, before the full one
    row = next(r for r in rows if r.measurement.run.start["scan_id"] == 1)
    feed(row)
    expected = {"empty": State.REJECTED, "degraded": State.DEGRADED}.get(flag, State.COMPLETE)
    assert row.status is expected, row.outcome

    (told,) = feed.summaries()
    assert flag in told["flags"]
    assert flag in trend_csv([told])
    shown = Lookup(feed, None).detail(row.key)
    assert flag == "empty" or flag in shown["answer"]["flags"]
    if flag == "degraded":  # its place in the catalog is the full answer's by now
        return
    assert flag in tiled_client[row.key].metadata["flags"]
    if flag == "empty":  # there is no answer
        return
    history = History(lambda: tiled_client)
    assert flag in Lookup(Feed(), history).detail(row.key)["answer"]["flags"]
    stored = history.answer(row.key)
    for export in EXPORTS.values():
        assert flag.encode() in export.content(stored), export.name
    _invert_says(flag, row.measurement, CASES[flag], worker, tmp_path)


def _invert_says(flag, measurement, case, worker, folder: Path) -> None:
    """Check that ``nearedge invert`` tells the flag of the same spectrum in each of its forms."""
    import pyarrow.parquet as pq

    instrument = Instrument.model_validate(case.instrument)
    assert recognise(measurement.run.start, instrument.recognise) is Kind.SAMPLE
    spectrum = reduce(measurement, instrument)
    assert isinstance(spectrum, Spectrum)
    asked = replace(spectrum, formula=formula_of(measurement.run.start))
    (answer,) = invert(
        [FileSpectrum(id="a", spectrum=asked)],
        instrument,
        inverters=[worker],
        supports=worker.inverter.card.supports,
        effort=InvertOptions(samples=4, quality=Quality.FAST),
    )
    for out in (folder / "a.json", folder / "a.parquet", folder / "out"):
        with Saving(out) as saving:
            saving.add("key", answer, number=0)
            saving.finish(["key"], done=True)
    assert flag in json.loads((folder / "a.json").read_text())[0]["flags"]
    assert flag in pq.read_table(folder / "a.parquet")["flags"][0].as_py()
    (xyz,) = (folder / "out").glob("*.xyz")
    assert flag in xyz.read_text()
    assert flag in json.loads((folder / "out" / "summary.json").read_text())[0]["flags"]
