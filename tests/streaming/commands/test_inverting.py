import io
import json
from dataclasses import replace
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
from nearedge.streaming.commands.answer_rows import COLUMNS, is_lost, line_of, row_of
from nearedge.streaming.commands.file_list import distinct, files_of
from nearedge.streaming.commands.inverting import InvertOptions, Outcome, invert, seed_for
from nearedge.streaming.commands.saving import OutputError, Saving
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


def spectrum(
    name: str = "good", *, absorber: str = "Si", edge: bool = True, scale: float = 1.0
) -> FileSpectrum:
    energy = ENERGY + (7112.0 - 1845.0 if absorber == "Fe" else 0.0)
    step = np.arctan((ENERGY - 1845.0) / 0.8) / np.pi + 0.5
    mu = scale * (0.1 + (step if edge else np.zeros_like(step)))
    read = Spectrum(energy=energy, mu=mu, technique=Technique.XANES, absorber=absorber, edge="K")
    return FileSpectrum(id=name, spectrum=read)


def ask(asked, *, jobs=1, **kwargs):
    inverters = [Tetrahedra() for _ in range(jobs)]
    effort = InvertOptions(samples=3, quality=Quality.FAST, **kwargs)
    known = {("Si", "K"), ("O", "K")}
    supports = lambda absorber, edge: (absorber, edge) in known  # noqa: E731
    return list(invert(asked, Instrument(), inverters=inverters, supports=supports, effort=effort))


def save(out, outcomes, *, done=True):
    keys = [f"key {number}" for number in range(len(outcomes))]
    with Saving(out) as saving:
        for number, outcome in enumerate(outcomes):
            saving.add(keys[number], outcome, number=number)
        saving.finish(keys, done=done)


@pytest.fixture
def outcomes():
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


def test_every_spectrum_is_answered_in_order(outcomes):
    assert [one.asked.id for one in outcomes] == ["a", "flat", "b/c d.xdi", "iron", "z"]
    rejected = [isinstance(one.answer, Rejected) for one in outcomes]
    assert rejected == [False, True, True, True, False]
    assert outcomes[3].answer.reason is Reason.UNSUPPORTED
    assert "Fe K" in outcomes[3].answer.detail


def test_an_answer_depends_neither_on_its_name_nor_on_what_else_was_asked():
    many = [spectrum(str(n), edge=n % 3 != 1, scale=1 + n / 100) for n in range(20)]
    together = {one.asked.id: one.answer for one in ask(many)}
    (alone,) = ask([spectrum("another name", scale=1.18)])
    assert together["18"].seed == alone.answer.seed == seed_for(many[18].spectrum, seed=0)
    assert len({a.seed for a in together.values() if isinstance(a, Inversion)}) == 13


def test_several_inverters_give_the_same_in_the_same_order():
    many = [spectrum(str(n), scale=1 + n / 100) for n in range(40)]
    seeds = [[one.answer.seed for one in ask(many, jobs=jobs)] for jobs in (1, 3)]
    assert seeds[0] == seeds[1]


def test_a_spectrum_that_the_model_fails_on_costs_no_other():
    class Fails(Tetrahedra):
        def invert(self, spectra, **kwargs):
            if any(one.mu.max() > 1.5 for one in spectra):
                raise RuntimeError("poison")
            return super().invert(spectra, **kwargs)

    asked = [spectrum("a"), spectrum("b", scale=2.0), spectrum("c")]
    effort = InvertOptions(samples=3, quality=Quality.FAST)
    found = invert(
        asked, Instrument(), inverters=[Fails()], supports=lambda *_: True, effort=effort
    )
    one, two, three = (outcome.answer for outcome in found)
    assert isinstance(one, Inversion) and isinstance(three, Inversion)
    assert "poison" in two.detail


def test_fluorescence_of_a_file_may_be_damped_whatever_the_profile_says():
    """The sample's own absorption is looked for in what the file measured."""
    flags = {}
    for measured in ("transmission", "fluorescence"):
        one = spectrum()
        concentrated = replace(one.spectrum, formula="Si")
        asked = replace(one, spectrum=concentrated, measured=measured)
        (outcome,) = ask([asked])
        flags[measured] = outcome.spectrum.flags
    assert "maybe-self-absorbed" in flags["fluorescence"]
    assert "maybe-self-absorbed" not in flags["transmission"]


def test_another_seed_draws_other_clusters():
    one, other = (ask([spectrum()], seed=seed)[0].answer for seed in (0, 1))
    assert one.seed != other.seed


def test_parquet_has_the_promised_columns(outcomes, tmp_path):
    save(tmp_path / "out.parquet", outcomes)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == list(COLUMNS)
    good, flat, *_ = table.to_pylist()
    assert (good["status"], good["reason"], good["cn_set"]) == ("complete", None, [3, 4])
    assert np.shape(good["species"]) == (3, 4)
    assert np.shape(good["positions"]) == (3, 4, 3)
    answer, normalised = outcomes[0].answer, outcomes[0].spectrum
    np.testing.assert_array_equal(np.array(good["positions"], np.float32), answer.samples.positions)
    np.testing.assert_array_equal(good["weights"], answer.samples.weights)
    assert (good["seed"], good["quality"]) == (answer.seed, "fast")
    assert (good["e0"], good["edge_step"]) == (normalised.e0, normalised.edge_step)
    assert good["flags"] == list(answer.flags)
    assert good["angle_mean"] is None
    assert flat["status"] == "rejected"
    assert flat["reason"]
    assert flat["cn_mean"] is None
    types = {field.name: str(field.type) for field in table.schema}
    assert types["cn_prob"] == "list<element: double>"
    assert (types["cn_map"], types["ood_flag"], types["seed"]) == ("int64", "bool", "int64")


def test_json_holds_the_same_and_is_strict(outcomes, tmp_path):
    save(tmp_path / "out.json", outcomes)

    def refuse(constant):
        raise AssertionError(constant)

    rows = json.loads((tmp_path / "out.json").read_text(), parse_constant=refuse)
    assert [row["status"] for row in rows] == ["complete", *["rejected"] * 3, "complete"]
    assert rows[0]["ood_score"] is None
    assert set(rows[1]) == set(COLUMNS)


def test_a_folder_holds_extended_xyz_that_ase_reads(outcomes, tmp_path):
    from ase.io import read

    save(tmp_path / "out", outcomes)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    files = [row.get("file_xyz") for row in summary]
    assert files == ["0000-a.xyz", None, None, None, "0004-z.xyz"]
    text = (tmp_path / "out" / "0000-a.xyz").read_text()
    frames = read(io.StringIO(text), index=":", format="extxyz")
    assert len(frames) == 3
    assert str(frames[0].symbols) == "SiO4"
    bond = frames[0].get_distance(0, 1)
    assert bond == pytest.approx(outcomes[0].answer.estimates.bond.mean, abs=1e-6)


def test_rows_are_on_the_disk_as_they_come_and_are_found_again(outcomes, tmp_path):
    out = tmp_path / "new" / "out.json"
    with Saving(out) as saving:
        saving.add("k0", outcomes[0], number=0)
        saving.add("k1", outcomes[1], number=1)
        # another program sees it although nothing was finished or closed
        assert len(saving.rows_path.read_text().splitlines()) == 2
        with saving.rows_path.open("a") as file:
            file.write('{"key": "cut sh')
    with Saving(out) as saving:
        assert "k0" in saving
        assert "k1" not in saving  # the cause of a rejection may be gone
        assert saving.row("k0") == json.loads(json.dumps(row_of(outcomes[0]), default=str)) | {
            "ood_score": None
        }
        saving.add("k2", outcomes[4], number=2)
        assert saving.finish(["k0", "k1", "k2"], done=False) == 2
        assert saving.rows_path.exists()
        assert saving.finish(["k0", "k2"], done=True) == 2
    assert [row["id"] for row in json.loads(out.read_text())] == ["a", "z"]
    assert [path.name for path in out.parent.iterdir()] == ["out.json"]


@pytest.mark.parametrize("name", ["x.csv", "x.docx"])
def test_an_output_of_another_form_is_refused(tmp_path, name):
    with pytest.raises(OutputError, match=r"\.parquet, \.json"):
        Saving(tmp_path / name)


def test_an_output_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="cannot be written"):
        Saving(tmp_path / "file" / "out.json")


def test_a_folder_with_a_point_in_its_name_is_a_folder(outcomes, tmp_path):
    (tmp_path / "run.1").mkdir()
    save(tmp_path / "run.1", outcomes)
    assert (tmp_path / "run.1" / "summary.json").exists()


def test_lines_say_figures_flags_and_reasons(outcomes):
    good, flat, *_ = (line_of(row_of(one)) for one in outcomes)
    bond = outcomes[0].answer.estimates.bond
    assert good.startswith(f"a: CN 3.8 {{3, 4}}, bond {bond.mean:.3f} Å [")
    assert flat.startswith("flat: rejected, no-edge")


def test_a_scan_of_something_else_is_no_loss():
    for reason, lost in ((Reason.NOT_A_SAMPLE, False), (Reason.NO_EDGE, True)):
        answer = Rejected(reason=reason, detail="")
        assert is_lost(row_of(Outcome(asked=spectrum(), spectrum=None, answer=answer))) is lost


@pytest.mark.parametrize("path", sorted((DATA / "measured").rglob("*.*")), ids=lambda p: p.name)
def test_measured_spectra_of_other_materials_end_with_a_reason(path):
    one, *rest = ask(read_spectra(path, Instrument()))
    assert not rest
    # Al K and O K of other oxides may be normalised; no other edge is known to the model
    assert isinstance(one.answer, Rejected) or one.answer.absorber == "O"


@pytest.fixture
def scans(tmp_path):
    for name in (
        "a/1.dat",
        "a/2.dat",
        "b/1.dat",
        "b/c/3.txt",
        "b/.hidden",
        "b/plot.png",
        "out/x.dat",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1 2\n")
    return tmp_path  # fmt: skip


def names(found, root):
    return [path.relative_to(root).as_posix() for path in found]


def test_folders_and_patterns_name_files(scans):
    asked = [str(scans / "b"), str(scans / "a" / "*.dat"), str(scans / "a" / "1.dat")]
    expected = ["b/1.dat", "b/c/3.txt", "a/1.dat", "a/2.dat"]
    assert names(files_of(asked), scans) == expected
    assert "out/x.dat" not in names(files_of([str(scans)], besides=scans / "out"), scans)


def test_what_names_nothing_is_an_error(scans):
    (scans / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"none\.dat.*empty"):
        files_of([str(scans / "a/1.dat"), str(scans / "none.dat"), str(scans / "empty")])


def test_equal_file_names_get_different_ids(scans):
    pairs = [
        (path, one) for path in files_of([str(scans)]) for one in read_spectra(path, Instrument())
    ]
    ids = [one.id for one in distinct(pairs)]
    assert ids == ["a/1.dat", "2.dat", "b/1.dat", "3.txt", "x.dat"]


def test_equal_ids_of_rows_get_the_names_of_their_files():
    pairs = [(Path("a.parquet"), spectrum("1")), (Path("b.parquet"), spectrum("1"))]
    assert [one.id for one in distinct(pairs)] == ["a.parquet#1", "b.parquet#1"]
