import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from typer.testing import CliRunner

from nearedge.models.data.dataset import read_dataset
from nearedge.models.normalise.edges import edge_energy
from nearedge.sim.dataset import SiteChoice, build, is_at_edge, read_reserved, split_of
from nearedge.sim.dataset_commands import dataset
from nearedge.sim.packing import pack
from nearedge.sim.prototypes import prototype_of, reduced_formula
from nearedge.streaming.workers.feff import Calculation, FeffError, PotentialsError


def rock_salt(metal, length):
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(length), [metal, "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )


@pytest.fixture
def folder(tmp_path):
    """Periclase and quartz, as CIF files."""
    found = tmp_path / "structures"
    found.mkdir()
    rock_salt("Mg", 4.21).to(str(found / "periclase.cif"))
    quartz = Structure.from_spacegroup(
        "P3_221",
        Lattice.hexagonal(4.9137, 5.4047),
        ["Si", "O"],
        [[0.4697, 0, 2 / 3], [0.4135, 0.2669, 0.7858]],
    )
    quartz.to(str(found / "quartz.cif"))
    return found


class Feff:
    """Stands in for FEFF: a step whose height tells the number of atoms."""

    def __init__(self, *, fails=(), mu=1.0, converged=True, change=None, edge_of=None):
        self.inputs, self.fails, self.reused, self.edge_of = [], fails, [], edge_of
        self.mu, self.converged, self.change = mu, converged, change

    def __call__(self, text, *, scratch=None, reuse=False):
        self.inputs.append(text)
        self.reused.append((scratch, reuse))
        if len(self.inputs) - 1 in self.fails:
            raise FeffError("FEFF stopped with code 1")
        x, absorber = np.arange(20.0), re.search(r"^ *0 +\d+ +(\w+)", text, re.MULTILINE)[1]
        return Calculation(
            energy=edge_energy(self.edge_of or absorber, "K") - 6 + x,
            mu=self.mu * (x > 5),
            mu0=np.ones(20),
            e_fermi=-1.0,
            converged=self.converged,
            charge_change=self.change,
        )


OXYGEN = SiteChoice(absorbers=("O",), rattles=(0.0, 0.1))


def test_every_site_and_copy_becomes_a_row(folder, tmp_path):
    run, out = Feff(), tmp_path / "o.parquet"
    built = build([folder], out, recipe=OXYGEN, run=run)
    assert (built.rows, built.failed) == (4, 0)
    rows = read_dataset(out)
    assert [(s.family, s.rattle) for s in rows] == [
        ("periclase", 0.0),
        ("periclase", pytest.approx(0.1)),
        ("quartz", 0.0),
        ("quartz", pytest.approx(0.1)),
    ]
    assert [s.cn for s in rows if s.family == "periclase"] == [6, 6]
    assert rows[0].strain == 0
    assert rows[1].strain > 0
    assert set(rows[0].species) == {"Mg", "O"}
    assert "0 8 O 1 2 0.01" in run.inputs[0]


def test_a_stopped_build_goes_on_and_never_calculates_twice(folder, tmp_path):
    out = tmp_path / "o.parquet"
    first = build([folder], out, recipe=OXYGEN, run=Feff())
    whole = read_dataset(out)
    lines = first.lines.read_text().splitlines()
    first.lines.write_text("\n".join(lines[:2]) + "\n" + lines[2][:40])  # cut short by a crash
    again = Feff()
    build([folder], out, recipe=OXYGEN, run=again)
    assert len(again.inputs) == 2
    assert [s.id for s in read_dataset(out)] == [s.id for s in whole]
    np.testing.assert_array_equal(read_dataset(out)[3].positions, whole[3].positions)


def test_failed_sites_are_recorded_and_not_fatal(folder, tmp_path):
    (folder / "broken.cif").write_text("nothing")
    told = []
    built = build(
        [folder],
        tmp_path / "o.parquet",
        recipe=OXYGEN,
        run=Feff(fails=(1,)),
        progress=lambda *step: told.append(step),
    )
    assert (built.rows, built.failed) == (3, 2)
    errors = [
        r["error"] for r in map(json.loads, built.lines.read_text().splitlines()) if "error" in r
    ]
    assert any("code 1" in error for error in errors)
    assert any("broken.cif cannot be read" in error for error in errors)
    assert told[-1] == (5, 2, 5)


@pytest.mark.parametrize(
    ("feff", "text"),
    [
        (Feff(converged=False), "self-consistent"),
        (Feff(mu=np.nan), "not finite"),
        (Feff(mu=40.0), "0.00 to 40.00"),
    ],
)
def test_implausible_spectra_are_failures(folder, tmp_path, feff, text):
    built = build([folder / "quartz.cif"], tmp_path / "o.parquet", recipe=OXYGEN, run=feff)
    assert built.rows == 0
    assert text in built.lines.read_text()


def test_splits_follow_the_family(folder, tmp_path):
    reserved = tmp_path / "reserved.txt"
    reserved.write_text("# kept\ntest quartz\nreserved periclase\n")
    assert read_reserved(reserved) == {"quartz": "test", "periclase": "reserved"}
    out = tmp_path / "o.parquet"
    build([folder], out, recipe=OXYGEN, reserved=reserved, run=Feff())
    assert {(s.family, s.split) for s in read_dataset(out)} == {("quartz", "test")}
    shares = [split_of(f"family {k}", {}) for k in range(2000)]
    assert shares.count("val") == pytest.approx(200, abs=60)
    assert shares.count("test") == pytest.approx(200, abs=60)
    fixed = build([folder], out, recipe=SiteChoice(absorbers=("O",), split="glass"), run=Feff())
    assert {s.split for s in read_dataset(fixed.dataset)} == {"glass"}


FAST = SiteChoice(absorbers=("O",), rattles=(0.0, 0.05, 0.1), fast=True)


def test_copies_of_a_fast_build_reuse_their_sites_potentials(folder, tmp_path):
    run = Feff()
    build([folder], tmp_path / "o.parquet", recipe=FAST, run=run)
    assert [reuse for _, reuse in run.reused] == [False, True, True] * 2
    folders = [scratch for scratch, _ in run.reused]
    assert len(set(folders)) == 2  # one for each site
    assert folders[0] == folders[2]
    assert "SCF 3.105 0 12 0.2 1" in run.inputs[0] or " 0 12 0.2 1" in run.inputs[0]
    assert not folders[0].exists()


def test_a_stopped_fast_build_makes_the_potentials_again_and_the_same_rows(folder, tmp_path):
    quartz, out = folder / "quartz.cif", tmp_path / "o.parquet"
    first = build([quartz], out, recipe=FAST, run=Feff())
    whole = read_dataset(out)
    lines = first.lines.read_text().splitlines()
    first.lines.write_text("\n".join(lines[:2]) + "\n")
    again = Feff()
    build([quartz], out, recipe=FAST, run=again)
    assert [reuse for _, reuse in again.reused] == [False, True]
    assert len(first.lines.read_text().splitlines()) == 3
    for a, b in zip(read_dataset(out), whole, strict=True):
        assert a.id == b.id
        np.testing.assert_array_equal(a.positions, b.positions)


def test_copies_fail_with_their_site(folder, tmp_path):
    quartz, run = folder / "quartz.cif", Feff(fails=(0,))
    built = build([quartz], tmp_path / "o.parquet", recipe=FAST, run=run)
    assert (built.rows, built.failed, len(run.inputs)) == (0, 3, 1)
    assert built.lines.read_text().count("whose potentials it needs") == 2


@pytest.mark.parametrize(("change", "rows"), [(0.01, 1), (0.2, 0), (None, 0)])
def test_charges_that_hardly_move_are_good_enough_for_a_fast_build(folder, tmp_path, change, rows):
    recipe = SiteChoice(absorbers=("O",), rattles=(0.0,), fast=True)
    run = Feff(converged=False, change=change)
    built = build([folder / "quartz.cif"], tmp_path / "o.parquet", recipe=recipe, run=run)
    assert built.rows == rows
    assert rows or "in 24 iterations" in built.lines.read_text()


def test_potentials_that_fail_are_made_once_more_cautiously(folder, tmp_path):
    def run(text, *, scratch=None, reuse=False):
        asked.append(text)
        if "0.2 1" in text:
            raise PotentialsError("its charges got lost")
        return good(text)

    asked, good = [], Feff()
    recipe = SiteChoice(absorbers=("O",), rattles=(0.0,), fast=True)
    built = build([folder / "quartz.cif"], tmp_path / "o.parquet", recipe=recipe, run=run)
    assert (built.rows, built.failed) == (1, 0)
    first, second = asked
    assert second == first.replace(" 12 0.2 1", " 24 0.1 5")


def test_prototypes_and_formulas_are_columns(folder, tmp_path):
    out = tmp_path / "o.parquet"
    build([folder], out, recipe=SiteChoice(absorbers=("O",), rattles=(0.0,)), run=Feff())
    assert [(s.prototype, s.formula) for s in read_dataset(out)] == [
        ("AB_cF8_225_a_b", "MgO"),
        ("AB2_hP9_154_a_c", "SiO2"),
    ]


def test_whole_prototypes_are_held_out():
    assert prototype_of(rock_salt("Mg", 4.21)) == prototype_of(rock_salt("Ni", 4.18))
    splits = {
        prototype: {split_of(f"family {k}", {}, prototype=prototype) for k in range(200)}
        for prototype in map(str, range(300))
    }
    held_out = [found for found in splits.values() if found == {"test"}]
    assert len(held_out) == pytest.approx(30, abs=15)
    assert all(found == {"train", "val", "test"} for found in splits.values() if len(found) > 1)
    assert split_of("quartz", {"quartz": "val"}, prototype="8") == "val"


def test_formulas_are_left_out_whatever_their_hydrogen(folder, tmp_path):
    without = tmp_path / "without.txt"
    without.write_text("# measured elsewhere\nH2 Mg2 O2  # brucite's, too\n")
    recipe = SiteChoice(absorbers=("O",), rattles=(0.0,))
    out = tmp_path / "o.parquet"
    build([folder], out, recipe=recipe, without=without, run=Feff())
    assert [s.formula for s in read_dataset(out)] == ["SiO2"]
    assert reduced_formula("FeO2H") == reduced_formula("Fe2O4")
    without.write_text("brucite\n")
    with pytest.raises(ValueError, match="'brucite', expected a formula"):
        build([folder], out, recipe=recipe, without=without, run=Feff())


def test_a_spectrum_of_another_edge_is_a_failure_and_in_no_part(folder, tmp_path):
    quartz, recipe = folder / "quartz.cif", SiteChoice(absorbers=("O",), rattles=(0.0,))
    built = build([quartz], tmp_path / "o.parquet", recipe=recipe, run=Feff(edge_of="S"))
    assert (built.rows, built.failed) == (0, 1)
    assert "begins at 2466.0 eV, and the O K edge lies at 543.1 eV" in built.lines.read_text()
    good = build([quartz], tmp_path / "good.parquet", recipe=recipe, run=Feff())
    line = json.loads(good.lines.read_text())
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text(json.dumps(line | {"id": "w", "energy": [e + 2000 for e in line["energy"]]}))
    packed = pack([good.lines, wrong], tmp_path / "1.parquet")
    assert (packed.rows, packed.failed) == (1, 1)


def test_every_row_of_the_data_is_a_spectrum_of_its_own_edge():
    for path in (Path(__file__).parents[2] / "benchmarks" / "data").glob("any-*.parquet"):
        sites = read_dataset(path)
        wrong = [s.id for s in sites if not is_at_edge(s.energy, s.absorber, s.edge)]
        assert sites and not wrong, path.name


def test_a_part_holds_what_earlier_ones_do_not_and_never_changes(folder, tmp_path):
    first, second = tmp_path / "1.parquet", tmp_path / "2.parquet"
    recipe = SiteChoice(absorbers=("O",), rattles=(0.0,))
    early = build([folder / "quartz.cif"], tmp_path / "a.parquet", recipe=recipe, run=Feff())
    assert pack([early.lines], first).rows == 1
    late = build([folder], tmp_path / "b.parquet", recipe=OXYGEN, run=Feff(fails=(0,)))
    without = tmp_path / "without.txt"
    without.write_text("MgO\n")
    packed = pack([early.lines, late.lines], second, beyond=[first], without=without)
    assert (packed.rows, packed.failed, packed.reserved, packed.known) == (1, 1, 1, 1)
    (row,) = read_dataset(second)
    assert (row.formula, row.rattle) == ("SiO2", pytest.approx(0.1))
    assert row.split == split_of("quartz", {}, prototype=row.prototype)
    with pytest.raises(ValueError, match="a part never changes"):
        pack([late.lines], second)
    with pytest.raises(ValueError, match="none of 1 lines is new"):
        pack([early.lines], tmp_path / "3.parquet", beyond=[first])


def test_parallel_builds_give_the_same_rows(folder, tmp_path):
    recipe = SiteChoice(absorbers=("O", "Si"), rattles=(0.0, 0.05, 0.1))
    build([folder], tmp_path / "1.parquet", recipe=recipe, run=Feff())
    build([folder], tmp_path / "4.parquet", recipe=recipe, run=Feff(), workers=4)
    one, four = (read_dataset(tmp_path / f"{k}.parquet") for k in (1, 4))
    assert [s.id for s in one] == [s.id for s in four]
    for a, b in zip(one, four, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)


def test_no_absorber_is_an_error(folder, tmp_path):
    with pytest.raises(ValueError, match="no Fe in 2 structures"):
        build([folder], tmp_path / "x.parquet", recipe=SiteChoice(absorbers=("Fe",)), run=Feff())


def test_commands(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("nearedge.streaming.workers.feff.require_feff", lambda: None)
    monkeypatch.setattr("nearedge.sim.dataset.calculate", Feff())
    monkeypatch.setattr(build, "__kwdefaults__", build.__kwdefaults__ | {"run": Feff()})
    out = str(tmp_path / "o.parquet")
    made = CliRunner().invoke(
        dataset, ["build", str(folder), "-o", out, "--absorber", "O", "--rattle", "0"]
    )
    assert made.exit_code == 0, made.output
    assert "2 rows" in made.output
    told = CliRunner().invoke(dataset, ["describe", out, "--json"])
    assert sum(split["sites"] for split in json.loads(told.output).values()) == 2
    assert "coordination" in CliRunner().invoke(dataset, ["describe", out]).output


def test_elements_that_are_none_are_refused_before_anything_is_calculated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nearedge.streaming.workers.feff.require_feff", lambda: None)
    out = tmp_path / "o.parquet"
    command = ["build", "--amcsd", "-o", str(out), "--absorber", "O", "--among", "oxygen"]
    refused = CliRunner().invoke(dataset, command)
    assert refused.exit_code == 2
    assert "--among" in refused.output and "oxygen" in refused.output
    assert not out.exists()


@pytest.mark.system
@pytest.mark.timeout(300)
@pytest.mark.skipif(find_spec("feff10") is None, reason="needs feff10-rs (the extra feff)")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_a_stopped_build_leaves_no_feff_and_no_scratch_folder(folder, tmp_path, number, code):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "nearedge.streaming", "dataset", "build", str(folder)]
    command += ["-o", str(tmp_path / "sites.parquet"), "--absorber", "Si"]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        deadline = time.monotonic() + 200
        while not (begun := running_in(scratch)) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number if begun else signal.SIGKILL)
        _, err = process.communicate(timeout=60)
    assert begun
    assert process.returncode == code
    assert "Traceback" not in err
    assert "goes on" in err
    assert not running_in(scratch)
    assert not list(scratch.iterdir())
    assert not (tmp_path / "sites.jsonl").read_text()


def running_in(folder):
    """Return the processes that work in a folder or below."""
    places = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            places.append((process / "cwd").resolve(strict=True))
        except OSError:
            continue
    return [place for place in places if folder in place.parents]


def test_a_line_cut_by_a_crash_costs_no_line_after_it(folder, tmp_path):
    out = tmp_path / "sites.parquet"
    recipe = SiteChoice(absorbers=("Si",), rattles=(0.0, 0.05))
    build([folder], out, recipe=recipe, run=Feff())
    lines = out.with_suffix(".jsonl")
    first, second = lines.read_text().splitlines()
    lines.write_text(f"{first}\n{second[:40]}")
    feff = Feff()
    assert build([folder], out, recipe=recipe, run=feff).rows == 2
    assert len(feff.inputs) == 1
    assert build([folder], out, recipe=recipe, run=feff).rows == 2
    assert len(feff.inputs) == 1
