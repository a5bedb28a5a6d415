"""``nearedge compare`` as a user runs it, and where it finds its spectra."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearedge.callbacks.measurement import Measurement, Run
from nearedge.models import Inversion, NormalisedSpectrum
from nearedge.sim.silica import Specimen, silica
from nearedge.sim.stored_maps import ABOUT, write_small_map
from nearedge.streaming import cli
from nearedge.streaming.catalog.maps import Maps, store_map
from nearedge.streaming.catalog.results import Provenance, Results, ResultWriter
from nearedge.streaming.commands import compare_sources
from nearedge.streaming.commands.compare_sources import ComparedSpectrum, Sources
from nearedge.streaming.commands.comparing import CompareOptions, FitReport, compared
from nearedge.streaming.settings.profile import Profile

ENERGY = np.linspace(1800.0, 1920.0, 300)
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def specimen() -> Specimen:
    return silica("Si", "K")


@pytest.fixture
def nearedge(capsys: pytest.CaptureFixture[str]) -> Call:
    def run(*args: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.main(["compare", *map(str, args)])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


def write(path: Path, mu: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = zip(ENERGY, mu, strict=True)
    path.write_text("energy mu\n" + "".join(f"{e:.4f} {m:.7f}\n" for e, m in rows))
    return path


@pytest.fixture
def files(tmp_path: Path, specimen: Specimen) -> Path:
    """Two end members in a folder, and mixtures of them in another."""
    rng = np.random.default_rng(0)
    quartz, stishovite = (specimen.mu(ENERGY, pressure=p, fwhm=0.6) for p in (0.0, 60.0))
    write(tmp_path / "ends" / "quartz.dat", 0.1 + quartz)
    write(tmp_path / "ends" / "stishovite.dat", 0.1 + stishovite)
    for k, share in enumerate((0.0, 0.25, 0.5, 0.75, 1.0)):
        mixed = share * stishovite + (1 - share) * quartz
        noise = rng.normal(0.0, 0.02, len(ENERGY))
        write(tmp_path / "series" / f"scan{k}.dat", 0.1 + 2.0 * mixed + noise)
    return tmp_path


def test_a_file_is_fitted_by_a_folder_of_references(nearedge: Call, files: Path) -> None:
    code, out, err = nearedge(files / "series" / "scan1.dat", "--with", files / "ends")
    assert (code, err) == (0, "")
    best = next(line for line in out.splitlines() if line.startswith("quartz.dat 0."))
    assert float(best.split()[1]) == pytest.approx(0.75, abs=0.03)
    assert "no answer of the model: a file" in out


def test_json_and_csv_tell_the_same(nearedge: Call, files: Path) -> None:
    curves = files / "curves.csv"
    target, ends = files / "series" / "scan2.dat", files / "ends"
    code, out, _ = nearedge(target, "--with", ends, "--json", "-o", curves, "--sum-to-one")
    assert code == 0
    told = json.loads(out)
    best = told["fits"][0]
    assert sum(best["weights"]) == pytest.approx(1.0)
    assert best["members"] == ["quartz.dat", "stishovite.dat"]
    assert best["shift"] == 0.0
    rows = list(csv.DictReader(curves.read_text().splitlines()))
    assert len(rows) == best["points"]
    residual = [float(row["spectrum"]) - float(row["fit"]) for row in rows]
    assert float(np.sqrt(np.mean(np.square(residual)))) == pytest.approx(best["misfit"], abs=1e-4)


def test_a_series_gets_its_components_and_weights(nearedge: Call, files: Path) -> None:
    table = files / "series.csv"
    code, out, _ = nearedge(files / "series", "--with", files / "ends", "-o", table)
    assert code == 0
    assert "components besides the mean: " in out
    rows = list(csv.DictReader(table.read_text().splitlines()))
    weights = [float(row["stishovite.dat"]) for row in rows]
    assert weights == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0], abs=0.05)
    told = json.loads(nearedge(files / "series", "--json")[1])
    assert told["weights"] is None
    assert told["components"]["shares"][0] > 0.95  # the others are noise, that of each step too


@pytest.mark.parametrize("ending", ["png", "svg", "json"])
def test_figures_and_everything_are_written(nearedge: Call, files: Path, ending: str) -> None:
    for number, name in enumerate(("series", "series/scan1.dat")):
        out = files / f"{number}.{ending}"
        assert nearedge(files / name, "--with", files / "ends", "-o", out)[0] == 0
        assert out.stat().st_size > 500


def test_the_target_itself_is_no_end_member(nearedge: Call, files: Path) -> None:
    quartz = files / "ends" / "quartz.dat"
    told = json.loads(nearedge(quartz, "--with", files / "ends", "--json")[1])
    assert [one["name"] for one in told["members"]] == ["stishovite.dat"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["series/scan1.dat"], "found no end member"),
        (["series", "--with", "ends", "--sum-to-one"], "fitted by all end members"),
        (["none.dat", "--with", "ends"], "none.dat"),
        (["series/scan1.dat", "--with", "ends", "--from", "60", "--to", "70"], "another range"),
        (["series/scan1.dat", "--with", "ends", "-o", "x.docx"], "expected .csv"),
    ],
)
def test_what_cannot_be_compared_ends_with_2(
    nearedge: Call, files: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(files)
    code, _, err = nearedge(*arguments)
    assert code == 2
    assert words in " ".join(err.replace("│", " ").split())


def test_what_has_no_edge_is_left_out_in_words(nearedge: Call, files: Path) -> None:
    write(files / "ends" / "flat.dat", np.ones_like(ENERGY))
    code, _, err = nearedge(files / "series" / "scan1.dat", "--with", files / "ends")
    assert code == 0
    assert err.startswith("left out: flat.dat: ")


MADE = Provenance(config="c", code="0", written=1.0, timings={})


@pytest.fixture
def results(
    tiled_client: Any,
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    make_inversion: Callable[..., Inversion],
) -> Results:
    writer = ResultWriter(tiled_client)
    for number, (uid, scan, name) in enumerate(
        (("run-1", 7, "0"), ("run-2", 8, "0.10"), ("run-2", 8, "0.2"), ("run-3", 7, "0"))
    ):
        run = Run(uid=uid, scan_id=scan, time=1000.0, start={"uid": uid})
        one = replace(measurement, run=run, spectrum=name)
        writer.write(f"k{number}", one, spectrum, make_inversion(4.0 + number), provenance=MADE)
    writer.close()
    return Results(tiled_client)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("k0", [("scan 7", 4.0)]),
        ("run-2", [("scan 8 #0.2", 6.0), ("scan 8 #0.10", 5.0)]),  # in the order of the run
        ("8", [("scan 8 #0.2", 6.0), ("scan 8 #0.10", 5.0)]),
        ("nobody", []),
    ],
)
def test_results_are_found_by_key_run_and_scan(
    results: Results, name: str, wanted: list[tuple[str, float]]
) -> None:
    found = compare_sources._of_results(results, name)
    assert [(one.name, one.mean("cn")) for one in found] == wanted


def test_of_two_answers_to_one_spectrum_the_latest_is_taken(
    results: Results,
    tiled_client: Any,
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    make_inversion: Callable[..., Inversion],
) -> None:
    run = Run(uid="run-1", scan_id=7, time=1000.0, start={"uid": "run-1"})
    writer = ResultWriter(tiled_client)
    later = replace(MADE, written=2.0)
    again = replace(measurement, run=run)
    writer.write("other", again, spectrum, make_inversion(9.0), provenance=later)
    writer.close()
    (found,) = compare_sources._of_results(results, "run-1")
    assert (found.key, found.mean("cn")) == ("other", 9.0)


def test_a_scan_number_that_came_twice_is_that_of_one_run(results: Results) -> None:
    (found,) = compare_sources._of_results(results, "7")
    assert found.key in ("k0", "k3")


def test_pixels_of_a_map_are_a_series(tiled_client: Any, tmp_path: Path) -> None:
    write_small_map(tmp_path / "m.h5", (8, 9))
    about = ABOUT | {"raw": {"uid": "run-9"}, "formula": "", "written": 1.0}
    store_map(tiled_client, "map-1", tmp_path / "m.h5", about=about, files=None)
    by_key = compare_sources._of_map(Maps(tiled_client), "map-1")
    assert len(by_key) == 71  # one of 72 was rejected
    assert by_key[0].edge == "Si K"
    assert by_key[-1].name == "pixel 7, 8"
    assert len(compare_sources._of_map(Maps(tiled_client), "run-9")) == 71
    assert compare_sources._of_map(Maps(tiled_client), "nobody") == []


def test_members_with_answers_tell_what_their_mixture_would_have(files: Path) -> None:
    with Sources(Profile()) as sources:
        (target,) = sources.find([str(files / "series" / "scan1.dat")])
        ends = sources.find([str(files / "ends")])
    told = [
        replace(one, figures={"cn": {"mean": cn}}) for one, cn in zip(ends, (4.0, 6.0), strict=True)
    ]
    report = compared([target], told, CompareOptions())
    assert isinstance(report, FitReport)
    pair = next(one for one in report.fits if len(one.members) == 2)
    assert report.of_members(pair, "cn") == pytest.approx(4.5, abs=0.05)
    assert report.of_members(pair, "bond") is None


def test_two_spectra_of_one_name_are_told_apart(files: Path) -> None:
    with Sources(Profile()) as sources:
        path = str(files / "ends" / "quartz.dat")
        found: list[ComparedSpectrum] = sources.find([path, path])
    assert [one.name for one in found] == ["quartz.dat", "quartz.dat (2)"]
