import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from nearedge.callbacks.instrument import Instrument
from nearedge.models import (
    Estimates,
    Interval,
    Inversion,
    Quality,
    Reason,
    Rejected,
    Samples,
    Spectrum,
    Technique,
)
from nearedge.streaming.commands.inverting import (
    COLUMNS,
    InvertOptions,
    OutputError,
    invert,
    seed_for,
    tally,
    write_folder,
    write_json,
    write_parquet,
    writer_for,
)
from nearedge.streaming.sources.files import FileSpectrum, read_spectra

DATA = Path(__file__).parents[2] / "data"
ENERGY = 1840.0 + np.linspace(-30.0, 60.0, 150)


class Tetrahedra:
    """Answers with tetrahedra whose size comes from the seed."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def invert(self, spectra, *, seeds, samples, quality):
        self.asked.append(list(seeds))
        return [self._answer(*pair, samples, quality) for pair in zip(spectra, seeds, strict=True)]

    def _answer(self, spectrum, seed, samples, quality):
        bond = 1.6 + seed % 100 / 1000
        corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * bond / 3**0.5
        return Inversion(
            absorber=spectrum.absorber,
            edge=spectrum.edge,
            samples=Samples(
                species=np.full((samples, 4), "O"),
                positions=np.tile(corners.astype(np.float32), (samples, 1, 1)),
                weights=np.full(samples, 1 / samples),
            ),
            estimates=Estimates(
                cn_prob=np.array([0, 0, 0, 0.25, 0.75]),
                cn_mean=3.75,
                cn_map=4,
                cn_set=(3, 4),
                bond=Interval(mean=bond, lo=bond - 0.01, hi=bond + 0.01),
                angle=None,
                bridge=None,
                sample_cn=np.full(samples, 4),
                sample_bond=np.full(samples, bond),
                sample_angle=np.full(samples, np.nan),
                rdf_r=np.linspace(0, 5, 3),
                rdf={"O": np.zeros(3)},
            ),
            grid=np.arange(3.0),
            condition=np.arange(3.0),
            ood_score=float("nan"),
            ood_flag=True,
            misfit=None,
            model="digest",
            seed=seed,
            quality=quality,
            seconds=0.25,
        )


def spectrum(name: str = "good", *, absorber: str = "Si", edge: bool = True) -> FileSpectrum:
    energy = ENERGY + (7112.0 - 1845.0 if absorber == "Fe" else 0.0)
    step = np.arctan((ENERGY - 1845.0) / 0.8) / np.pi + 0.5
    mu = 0.1 + (step if edge else np.zeros_like(step))
    read = Spectrum(energy=energy, mu=mu, technique=Technique.XANES, absorber=absorber, edge="K")
    return FileSpectrum(id=name, spectrum=read)


def ask(asked, **kwargs):
    inverter = Tetrahedra()
    effort = InvertOptions(samples=3, quality=Quality.FAST, **kwargs)
    known = {("Si", "K"), ("O", "K")}
    supports = lambda absorber, edge: (absorber, edge) in known  # noqa: E731
    answers = invert(asked, Instrument(), inverter=inverter, supports=supports, effort=effort)
    return list(answers)


@pytest.fixture
def answers():
    unread = Rejected(reason=Reason.UNREADABLE, detail="no numbers")
    return ask(
        [
            spectrum("a"),
            spectrum("flat", edge=False),
            FileSpectrum(id="b/c d.xdi", spectrum=unread),
            spectrum("iron", absorber="Fe"),
            spectrum("z"),
        ]
    )


def test_every_spectrum_is_answered_in_order(answers):
    assert [one.id for one, _ in answers] == ["a", "flat", "b/c d.xdi", "iron", "z"]
    assert [isinstance(answer, Rejected) for _, answer in answers] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert answers[3][1].reason is Reason.UNSUPPORTED
    assert "Fe K" in answers[3][1].detail
    assert tally(answers) == "2 inverted, 3 rejected"


def test_an_answer_does_not_depend_on_what_else_was_asked():
    many = [spectrum(str(n), edge=n % 3 != 1) for n in range(20)]
    together = {one.id: answer for one, answer in ask(many)}
    alone = ask([spectrum("18")])[0][1]
    assert together["18"].seed == alone.seed == seed_for("18", seed=0)
    assert len({a.seed for a in together.values() if isinstance(a, Inversion)}) == 13


def test_two_files_of_one_name_each_get_an_answer():
    answers = ask([spectrum("scan.xdi"), spectrum("scan.xdi")])
    assert [one.id for one, _ in answers] == ["scan.xdi"] * 2


def test_another_seed_draws_other_clusters():
    one, other = (ask([spectrum()], seed=seed)[0][1] for seed in (0, 1))
    assert one.seed != other.seed


def test_parquet_has_the_promised_columns(answers, tmp_path):
    write_parquet(tmp_path / "out.parquet", answers)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == list(COLUMNS)
    good, flat, *_ = table.to_pylist()
    assert (good["status"], good["reason"], good["cn_set"]) == ("complete", None, [3, 4])
    assert np.shape(good["species"]) == (3, 4)
    assert np.shape(good["positions"]) == (3, 4, 3)
    np.testing.assert_array_equal(
        np.array(good["positions"], np.float32), answers[0][1].samples.positions
    )
    assert flat["status"] == "rejected"
    assert flat["reason"]
    assert flat["cn_mean"] is None
    types = {field.name: str(field.type) for field in table.schema}
    assert types["cn_prob"] == "list<element: double>"
    assert (types["cn_map"], types["ood_flag"]) == ("int64", "bool")


def test_json_holds_the_same_and_is_strict(answers, tmp_path):
    write_json(tmp_path / "out.json", answers)

    def refuse(constant):
        raise AssertionError(constant)

    rows = json.loads((tmp_path / "out.json").read_text(), parse_constant=refuse)
    assert [row["status"] for row in rows] == ["complete", *["rejected"] * 3, "complete"]
    assert rows[0]["ood_score"] is None
    assert set(rows[1]) == set(COLUMNS)


def test_a_folder_holds_extended_xyz_that_ase_reads(answers, tmp_path):
    from ase.io import read

    write_folder(tmp_path / "out", answers)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [row["file"] for row in summary] == ["0000-a.xyz", None, None, None, "0004-z.xyz"]
    text = (tmp_path / "out" / "0000-a.xyz").read_text()
    frames = read(io.StringIO(text), index=":", format="extxyz")
    assert len(frames) == 3
    assert str(frames[0].symbols) == "SiO4"
    bond = frames[0].get_distance(0, 1)
    assert bond == pytest.approx(answers[0][1].estimates.bond.mean, abs=1e-6)


def test_the_form_follows_from_the_name(tmp_path):
    assert writer_for(Path("x.parquet")) is write_parquet
    assert writer_for(Path("x.json")) is write_json
    assert writer_for(Path("x")) is write_folder
    (tmp_path / "run.1").mkdir()
    assert writer_for(tmp_path / "run.1") is write_folder
    with pytest.raises(OutputError, match=r"\.csv"):
        writer_for(Path("x.csv"))


@pytest.mark.parametrize("path", sorted((DATA / "measured").rglob("*.*")), ids=lambda p: p.name)
def test_measured_spectra_of_other_materials_end_with_a_reason(path):
    (_, answer), *rest = ask(read_spectra(path, Instrument()))
    assert not rest
    # Al K and O K of other oxides may be normalised; no other edge is known to the model
    assert isinstance(answer, Rejected) or answer.absorber == "O"
