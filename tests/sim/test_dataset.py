import json

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from typer.testing import CliRunner

from nearedge.models.data.dataset import read_dataset
from nearedge.sim.dataset import SiteChoice, build, read_reserved, split_of
from nearedge.sim.dataset_commands import dataset
from nearedge.streaming.workers.feff import Calculation, FeffError


@pytest.fixture
def folder(tmp_path):
    """Periclase and quartz, as CIF files."""
    found = tmp_path / "structures"
    found.mkdir()
    rock_salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.21), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    rock_salt.to(str(found / "periclase.cif"))
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

    def __init__(self, *, fails=(), mu=1.0, converged=True):
        self.inputs, self.fails = [], fails
        self.mu, self.converged = mu, converged

    def __call__(self, text):
        self.inputs.append(text)
        if len(self.inputs) - 1 in self.fails:
            raise FeffError("FEFF stopped with code 1")
        x = np.arange(20.0)
        return Calculation(
            energy=500 + x,
            mu=self.mu * (x > 5),
            mu0=np.ones(20),
            e_fermi=-1.0,
            converged=self.converged,
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
