"""Merging stored repeats: one result of its own, linked to its runs, and refused by name."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearedge.callbacks.measurement import Measurement
from nearedge.models import Inversion, NormalisedSpectrum, Reason, Rejected, Spectrum, Technique
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.streaming.answers.answer import answer_of_result
from nearedge.streaming.answers.forms import EXPORTS
from nearedge.streaming.answers.merging import MergeError
from nearedge.streaming.catalog.connection import results_container
from nearedge.streaming.catalog.history import History
from nearedge.streaming.catalog.result_files import ResultFiles
from nearedge.streaming.catalog.results import Provenance, Results, ResultWriter
from nearedge.streaming.catalog.storing import Storing
from nearedge.streaming.cli import main
from nearedge.streaming.commands import merging
from nearedge.streaming.commands.merging import MergeOptions, merge_stored
from nearedge.streaming.settings.configuration import load_profile

ENERGIES = np.concatenate(
    [np.arange(1800, 1835, 1.0), np.arange(1835, 1860, 0.25), np.arange(1860, 1940, 1.0)]
)
PROFILE = load_profile((), environ={})


class Inverting:
    """Counts what it is asked."""

    def __init__(self, inversion: Inversion) -> None:
        self.inversion, self.asked = inversion, []

    def invert(self, spectra: Any, *, seeds: Any, keys: Any) -> list[Inversion]:
        self.asked += list(zip(keys, seeds, spectra, strict=True))
        return [self.inversion for _ in spectra]

    def close(self) -> None:
        pass


def scan(seed: int, *, white_line: float = 1.0, shift: float = 0.0) -> NormalisedSpectrum:
    off = ENERGIES - shift - 1845.0
    mu = 0.5 + np.arctan(off) / np.pi + white_line * np.exp(-(((off - 2.0) / 2) ** 2))
    mu = mu + np.random.default_rng(seed).normal(0, 0.01, len(mu))
    found = normalise_xanes(
        Spectrum(energy=ENERGIES, mu=mu, technique=Technique.XANES, absorber="Si", edge="K")
    )
    assert isinstance(found, NormalisedSpectrum)
    return found


@pytest.fixture
def box(
    tiled_client: Any,
    tiled_files: Path,
    measurement: Measurement,
    make_inversion: Callable[..., Inversion],
):
    """A container with three repeats of scans 0 to 2, another sample's scan 3, a rejected 4."""
    container = results_container(tiled_client, "inversions")
    writer = ResultWriter(container, files=ResultFiles(tiled_files / "repeats"))
    spectra = [scan(0), scan(1, shift=0.3), scan(2), scan(3, white_line=0.5)]

    def told(number: int) -> dict[str, Any]:
        run = replace(measurement.run, uid=f"run-{number}", scan_id=number)
        context = {"pressure": 2.0 + number, "stage": 7, "rack": float("nan")}
        measured = replace(measurement, run=run, time=1000.0 + number, context=context, flags=())
        by = Provenance(config="c0ffee", code="0.1.0", written=1.0 + number)
        return {"key": f"k{number}", "measurement": measured, "provenance": by}

    for number, spectrum in enumerate(spectra):
        writer.write(**told(number), spectrum=spectrum, inversion=make_inversion())
    rejected = Rejected(reason=Reason.NO_EDGE, detail="there is no edge")
    writer.write_rejected(**told(4), rejected=rejected)
    writer.close()
    return container


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, make_inversion: Callable[..., Inversion]) -> Inverting:
    found = Inverting(make_inversion(cn=4.5))
    monkeypatch.setattr(merging, "worker_of", lambda settings, card: found)
    return found


def merge(box: Any, *names: str, **options: Any) -> merging.MergedResult:
    put = Storing(lambda: box, config=PROFILE.digest()).put
    return merge_stored(PROFILE, names, Results(box), put=put, options=MergeOptions(**options))


def test_a_merge_is_a_result_of_its_own(box: Any, worker: Inverting) -> None:
    done = merge(box, "0", "run-1", "k2")
    result = done.result
    metadata = result.metadata
    assert done.new and result.status == "complete" and metadata["cn"]["mean"] == 4.5
    assert metadata["raw"]["uids"] == ["run-0", "run-1", "run-2"]
    assert metadata["raw"]["uid"] not in metadata["raw"]["uids"]
    assert metadata["raw"]["sample"] == "quartz"
    sources = metadata["merged_from"]
    assert [one["key"] for one in sources] == ["k0", "k1", "k2"]
    assert sum(one["weight"] for one in sources) == pytest.approx(1.0)
    shifts = [one["shift"] for one in sources]
    assert shifts[1] - shifts[0] == pytest.approx(-0.3, abs=0.05)
    assert all(one["alike"] for one in sources)
    assert metadata["context"] == {"pressure": 3.0, "stage": 7}
    assert metadata["measured"] == 1002.0
    raw = result.raw
    assert raw["merged"].shape == (*result.spectrum.energy.shape, 3)
    weights = [one["weight"] for one in sources]
    assert np.allclose(raw["merged"] @ weights, result.spectrum.norm)
    assert raw["error"].mean() < 0.01


def test_the_same_merge_is_made_once(box: Any, worker: Inverting) -> None:
    first, again = merge(box, "0", "1"), merge(box, "k1", "k0")
    assert again.result.key == first.result.key and not again.new
    assert len(worker.asked) == 1
    key, seed, _ = worker.asked[0]
    assert key == first.result.key and seed == merging.seed_of(key)
    other = merge(box, "0", "1", most=0.4)
    assert other.new and other.result.key != first.result.key
    assert "was stored before as" in again.lines()[-1]


def test_it_is_found_from_its_runs_and_not_taken_for_them(box: Any, worker: Inverting) -> None:
    key = merge(box, "0", "1").result.key
    results = Results(box)
    assert [one.key for one in results.merges()] == [key]
    assert [one.key for one in results.merges(raw_uid="run-1")] == [key]
    assert not list(results.merges(raw_uid="run-2"))
    assert [one.key for one in results.search(raw_uid="run-1")] == ["k1"]
    assert [one.key for one in results.search(scan_id=1)] == ["k1"]


def test_what_is_told_of_it(box: Any, worker: Inverting) -> None:
    done = merge(box, "0", "1", "2")
    lines = done.lines()
    assert [line.partition(":")[0] for line in lines[:3]] == ["scan 0", "scan 1", "scan 2"]
    assert all("chi²" in line for line in lines[:3]) and "± 0.0" in " ".join(lines[:3])
    assert lines[3].startswith("merge of scan 0, scan 1 and scan 2: CN 4.5")
    assert lines[4] == f"stored as {done.result.key}"
    told = History(lambda: box).summary(done.result.key)
    assert told is not None and [one["scan_id"] for one in told["merged"]] == [0, 1, 2]


def test_every_export_says_what_was_merged(box: Any, worker: Inverting) -> None:
    answer = answer_of_result(merge(box, "0", "1").result)
    assert [one["key"] for one in answer.merged_from] == ["k0", "k1"]
    for name, form in EXPORTS.items():
        content = form.content(answer)
        told = content.encode() if isinstance(content, str) else content
        if name in ("xdi", "nexus", "xyz"):
            assert b"run-0" in told and b"run-1" in told, name


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["0"], "found 1 spectra"),
        (["0", "k0"], "scan 0 is named twice"),
        (["0", "1", "2", "3"], "scan 3 is no repeat of the others: it differs by"),
        (["0", "k4"], "scan 4 has no answer: it was rejected as no-edge (there is no edge)"),
        (["0", "run-4"], "scan 4 has no answer"),
        (["0", "77"], "found no answer of scan 77"),
        (["0", "elsewhere"], "found no answer of run 'elsewhere'"),
    ],
)
def test_what_cannot_be_merged_is_refused(
    box: Any, worker: Inverting, names: list[str], said: str
) -> None:
    with pytest.raises(MergeError) as refused:
        merge(box, *names)
    assert said in str(refused.value)
    assert not worker.asked and not list(Results(box).merges())


@pytest.mark.parametrize("most", [-1.0, 60.0, float("nan"), float("inf")])
def test_no_axis_drifts_so_far(box: Any, worker: Inverting, most: float) -> None:
    with pytest.raises(MergeError, match="expected 0 to 50 eV"):
        merge(box, "0", "1", most=most)


def test_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], box: Any, worker: Inverting
) -> None:
    def merged(profile: Any, names: Any, options: MergeOptions) -> list[str]:
        return merge(box, *names, most=options.most, anyway=options.anyway).lines()

    monkeypatch.setattr(merging, "merge_in_catalog", merged)
    with pytest.raises(SystemExit) as done:
        main(["merge", "0", "1", "--most-shift", "1"])
    assert done.value.code == 0 and "stored as" in capsys.readouterr().out
    with pytest.raises(SystemExit) as refused:
        main(["merge", "0", "3"])
    assert refused.value.code == 2
    assert re.search("error: scan [03] is no repeat of scan [03]", capsys.readouterr().err)


def test_unlike_ones_are_merged_on_request_and_flagged(box: Any, worker: Inverting) -> None:
    result = merge(box, "0", "2", "3", anyway=True).result
    assert "unlike-averaged" in result.metadata["flags"]
    assert [one["alike"] for one in result.metadata["merged_from"]][2] is False


def test_a_merge_is_not_merged(box: Any, worker: Inverting) -> None:
    key = merge(box, "0", "1").result.key
    with pytest.raises(MergeError, match=f"{key} is itself a merge, of scan 0 and scan 1"):
        merge(box, key, "2")


def test_a_scan_of_many_spectra_is_asked_which(
    box: Any, worker: Inverting, measurement: Measurement, make_inversion: Callable[..., Inversion]
) -> None:
    writer = ResultWriter(box)
    by = Provenance(config="c0ffee", code="0.1.0", written=1.0)
    for name in ("1", "2"):
        run = replace(measurement.run, uid="run-9", scan_id=9)
        several = replace(measurement, run=run, spectrum=name)
        writer.write(f"k9-{name}", several, scan(9), make_inversion(), provenance=by)
    writer.close()
    with pytest.raises(
        MergeError, match=r"scan 9 has 2 spectra; expected one: .* k9-[12], k9-[12]"
    ):
        merge(box, "0", "9")
