import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import h5py
import numpy as np
import pytest
import yaml
from pymatgen.io.cif import CifParser
from pymatgen.io.vasp import Poscar

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.measurement import Measurement
from nearedge.models import Inversion, NormalisedSpectrum, Samples, Spectrum, Technique
from nearedge.streaming.answers.answer import Answer, answer_of_result, answer_of_row
from nearedge.streaming.answers.forms import EXPORTS, FormatError, export_of
from nearedge.streaming.answers.overlay import typical_sample
from nearedge.streaming.catalog import server_config
from nearedge.streaming.catalog.connection import results_container
from nearedge.streaming.catalog.history import History
from nearedge.streaming.catalog.results import Provenance, Results, ResultWriter
from nearedge.streaming.commands.exporting import (
    NoSuchResultError,
    export_result,
    export_trend,
    find,
    form_of,
)
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.row import Row
from nearedge.streaming.settings.configuration import load_profile
from nearedge.streaming.sources.files import read_spectra

BOX_CENTRE_A = 1e-3


@pytest.fixture
def answer(
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    make_inversion: Callable[..., Inversion],
) -> Answer:
    made = answer_of_row(
        Row(
            key="k1",
            status=State.COMPLETE,
            measurement=measurement,
            outcome=spectrum,
            inversion=make_inversion(),
            error=None,
            stages={},
        )
    )
    assert made is not None
    return made


@pytest.fixture
def box(
    tiled_client: Any,
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    make_inversion: Callable[..., Inversion],
) -> Any:
    made = results_container(tiled_client, "inversions")
    writer = ResultWriter(made)
    by = Provenance(config="c0ffee", code="0.1.0", written=1.0)
    writer.write("k1", measurement, spectrum, make_inversion(misfit=0.05), provenance=by)
    writer.close()
    return made


def bonds(symbols: list[str], positions: np.ndarray) -> list[tuple[str, float]]:
    """Return each neighbour's symbol and distance from the first atom, sorted."""
    r = np.linalg.norm(positions[1:] - positions[0], axis=1)
    return sorted(zip(symbols[1:], r.round(4).tolist(), strict=True))


def drawn(samples: Samples, k: int) -> list[tuple[str, float]]:
    atoms = [i for i, s in enumerate(samples.species[k]) if s]
    positions = np.vstack([np.zeros(3), samples.positions[k, atoms].astype(float)])
    return bonds(["Si", *samples.species[k, atoms].tolist()], positions)


def test_ase_reads_every_sample_of_extended_xyz(answer: Answer) -> None:
    frames = ase.io.read(io.StringIO(EXPORTS["xyz"].content(answer).decode()), ":", format="extxyz")
    assert len(frames) == 2
    for k, atoms in enumerate(frames):
        assert bonds(atoms.get_chemical_symbols(), atoms.positions) == drawn(answer.samples, k)
        assert atoms.info["raw_uid"] == "run-1"
        assert atoms.info["weight"] == answer.samples.weights[k]


def test_pymatgen_reads_the_most_typical_cluster_from_cif(answer: Answer) -> None:
    (structure,) = CifParser.from_str(EXPORTS["cif"].content(answer).decode()).parse_structures(
        primitive=False
    )
    found = sorted(
        (site.specie.symbol, round(structure[0].distance(site), 4)) for site in structure[1:]
    )
    expected = drawn(answer.samples, typical_sample(answer.samples))
    assert [s for s, _ in found] == [s for s, _ in expected]
    np.testing.assert_allclose([r for _, r in found], [r for _, r in expected], atol=2e-4)


def test_pymatgen_and_ase_read_the_most_typical_cluster_from_poscar(answer: Answer) -> None:
    text = EXPORTS["poscar"].content(answer).decode()
    structure = Poscar.from_str(text).structure
    expected = drawn(answer.samples, typical_sample(answer.samples))
    assert sorted(s.specie.symbol for s in structure) == sorted(["Si", *(s for s, _ in expected)])
    centre = np.full(3, structure.lattice.a / 2)
    absorber = min(structure, key=lambda site: float(np.linalg.norm(site.coords - centre)))
    assert np.linalg.norm(absorber.coords - centre) < BOX_CENTRE_A
    r = sorted(absorber.distance(site) for site in structure if site is not absorber)
    np.testing.assert_allclose(r, sorted(d for _, d in expected), atol=2e-4)
    assert len(ase.io.read(io.StringIO(text), format="vasp")) == len(structure)


@pytest.mark.filterwarnings("ignore")  # of Larch's imports
def test_larch_reads_the_normalised_spectrum_from_xdi(answer: Answer, tmp_path: Path) -> None:
    from larch.io.xdi import read_xdi

    path = tmp_path / "spectrum.xdi"
    path.write_bytes(EXPORTS["xdi"].content(answer))
    read = read_xdi(str(path))
    assert read.array_labels == ["energy", "mu", "norm", "flat"]
    for name in read.array_labels:
        np.testing.assert_allclose(getattr(read, name), getattr(answer.spectrum, name), rtol=1e-7)
    assert (read.element, read.edge) == ("Si", "K") or read.attrs["element"]["symbol"] == "Si"
    attributes = read.attrs["nearedge"]
    assert attributes["e0"] == f"{answer.spectrum.e0:.8g} eV"
    assert attributes["pre1"] == "-40 eV from e0"
    assert attributes["flags"] == "gap, short-post-edge, partial"
    assert attributes["run_uid"] == "run-1"
    assert read.attrs["sample"]["name"] == "quartz"


def test_xdi_has_no_lines_that_are_not_numbers(answer: Answer) -> None:
    flat = answer.spectrum.flat.copy()
    flat[3] = np.nan
    text = EXPORTS["xdi"].content(replace(answer, spectrum=replace(answer.spectrum, flat=flat)))
    rows = [line for line in text.decode().splitlines() if not line.startswith("#")]
    assert len(rows) == len(flat) - 1
    assert "nan" not in text.decode()


def test_nexus_says_what_was_measured_and_what_made_it(answer: Answer) -> None:
    with h5py.File(io.BytesIO(EXPORTS["nexus"].content(answer))) as file:
        entry = file[file.attrs["default"]]
        assert entry.attrs["NX_class"] == "NXentry"
        assert entry["definition"].asstr()[()] == "NXxasproc"
        assert entry["sample/name"].asstr()[()] == "quartz"
        assert entry["sample/context/pressure"][()] == 2.5
        assert entry["sample/context/pressure"].attrs["units"] == "GPa"
        reduction = entry["XAS_data_reduction"]
        for name in ("program", "version", "date"):
            assert reduction[name].asstr()[()]
        assert "run-1" in reduction["parameters/raw_file"].asstr()[()]
        assert reduction["parameters/e0"][()] == answer.spectrum.e0
        data = entry[entry.attrs["default"]]
        assert data.attrs["NX_class"] == "NXdata"
        np.testing.assert_array_equal(data[data.attrs["axes"][0]], answer.spectrum.energy)
        np.testing.assert_array_equal(data[data.attrs["signal"]], answer.spectrum.flat)
        inversion = entry["inversion"]
        assert inversion["parameters/model"].asstr()[()] == answer.model
        assert inversion["parameters/seed"][()] == 2**52 + 1
        assert list(inversion["figures/coordination_number_set"]) == [4, 5]
        np.testing.assert_array_equal(inversion["clusters/positions"], answer.samples.positions)
        species = inversion["clusters/species"].asstr()[()]
        assert species.tolist() == answer.samples.species.tolist()


def test_nexus_keeps_scalars_apart_whose_names_differ_by_a_slash(answer: Answer) -> None:
    along = replace(answer, context={"a/b": 1.0, "a_b": 2.0}, units={"a/b": "K", "a_b": "mA"})
    with h5py.File(io.BytesIO(EXPORTS["nexus"].content(along))) as file:
        context = file["entry/sample/context"]
        assert {name: one.attrs["units"] for name, one in context.items()} == {
            "a_b": "K",
            "a_b_": "mA",
        }


@pytest.mark.parametrize("technique", Technique)
def test_nexus_can_be_read_again(answer: Answer, tmp_path: Path, technique: Technique) -> None:
    measured = replace(answer.spectrum, technique=technique)
    path = tmp_path / "a.nxs"
    path.write_bytes(EXPORTS["nexus"].content(replace(answer, spectrum=measured)))
    (read,) = read_spectra(path, Instrument(absorber="Ge", technique=technique))
    assert isinstance(read.spectrum, Spectrum), read.spectrum
    np.testing.assert_allclose(read.spectrum.energy, measured.energy)
    np.testing.assert_allclose(read.spectrum.mu, measured.mu)
    assert read.spectrum.technique is technique


def test_nexus_of_eels_uses_the_terms_of_electron_microscopy(answer: Answer) -> None:
    lost = replace(answer.spectrum, technique=Technique.EELS)
    content = EXPORTS["nexus"].content(replace(answer, spectrum=lost))
    with h5py.File(io.BytesIO(content)) as file:
        eels = file["entry/eels"]
        assert eels.attrs["NX_class"] == "NXem_eels"
        assert eels["spectrum"].attrs["NX_class"] == "NXspectrum"
        data = eels["spectrum/spectrum_0d"]
        np.testing.assert_array_equal(data["axis_energy"], lost.energy)
        assert "definition" not in file["entry"]


@pytest.mark.parametrize("name", list(EXPORTS))
def test_every_form_carries_the_doubts_and_what_made_it(answer: Answer, name: str) -> None:
    doubtful = replace(answer, ood_flag=True, flags=("partial",), config="c0ffee")
    content = EXPORTS[name].content(doubtful)
    if name == "nexus":
        with h5py.File(io.BytesIO(content)) as file:
            flags = file["entry/inversion/figures/flags"].asstr()[()]
            made = file["entry/inversion/parameters"]
            assert (made["config"].asstr()[()], made["seed"][()]) == ("c0ffee", answer.seed)
            assert set(file["entry/raw"]) == {*answer.columns, "dark_runs"}
    else:
        flags = content.decode()
        assert answer.model in flags and str(answer.seed) in flags
    assert "out-of-distribution, partial" in flags


def test_xdi_of_eels_says_which_energies_count_from_the_edge(answer: Answer) -> None:
    parameters = {"background1": 480.0, "background2": 520.0, "step1": 20.0, "r": 3.1}
    lost = replace(answer.spectrum, technique=Technique.EELS, parameters=parameters)
    lines = EXPORTS["xdi"].content(replace(answer, spectrum=lost)).decode().splitlines()
    for line in ("background1: 480 eV", "step1: 20 eV from e0", "r: 3.1"):
        assert f"# Nearedge.{line}" in lines
    step = next(line for line in lines if line.startswith("# Nearedge.edge_step:"))
    assert step.endswith(" counts")


@pytest.mark.parametrize(
    ("file", "name"),
    [("a.xyz", "xyz"), ("POSCAR", "poscar"), ("b.vasp", "poscar"), ("c.nxs", "nexus")],
)
def test_the_form_is_told_from_the_name(file: str, name: str) -> None:
    assert form_of(Path(file)).name == name


def test_an_unknown_form_is_named_with_those_that_are_known() -> None:
    with pytest.raises(FormatError, match=r"'.docx'.*xyz, cif, poscar, xdi, nexus"):
        export_of(".docx")


def test_file_names_tell_the_spectrum(answer: Answer) -> None:
    assert EXPORTS["cif"].filename(answer) == "Si-K-scan7-run-1.cif"
    strange = replace(answer, run_uid="../../etc", scan_id=None, name="3")
    assert EXPORTS["cif"].filename(strange) == "Si-K-.._.._et-3.cif"


@pytest.mark.parametrize("name", list(EXPORTS))
def test_tiled_sends_a_result_in_every_form(box: Any, name: str) -> None:
    link = box["k1"].uri.replace("/metadata/", "/container/full/")
    answer = box.context.http_client.get(link, params={"format": name})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith(EXPORTS[name].media_type)
    stored = answer_of_result(Results(box)["k1"])
    expected = EXPORTS[name].content(stored)
    if name == "nexus":
        with h5py.File(io.BytesIO(answer.content)) as file:
            np.testing.assert_array_equal(file["entry/data/data"], stored.spectrum.flat)
            implied = file["entry/inversion/implied_spectrum/implied"]
            np.testing.assert_array_equal(implied, stored.implied)
    else:
        assert answer.content == expected


def test_the_part_of_a_configuration_is_yaml() -> None:
    config = yaml.safe_load(yaml.safe_dump(server_config.config()))
    assert config["file_extensions"]["cif"] == "chemical/x-cif"
    assert set(config["media_types"]["ClusterEnsemble"]) == set(config["file_extensions"].values())


def test_the_latest_result_is_found_and_one_that_is_not_there_is_named(box: Any) -> None:
    history, results = History(lambda: box), Results(box)
    assert find(history, results, "latest").key == "k1"
    assert find(history, results, "k1").run_uid == "run-1"
    with pytest.raises(NoSuchResultError, match="'k9'"):
        find(history, results, "k9")


@pytest.mark.system
def test_the_command_saves_the_latest_result_and_the_trend(kept: Path, tmp_path: Path) -> None:
    profile = load_profile((str(kept / "profile.yaml"),), environ={})
    told = export_result(profile, "latest", tmp_path / "POSCAR")
    assert "scan 3, run run-3" in told
    assert len(ase.io.read(tmp_path / "POSCAR", format="vasp")) >= 3
    assert export_trend(profile, tmp_path / "trend.csv").endswith("4 spectra")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "trend.csv").read_text())))
    assert [row["press-pressure"] for row in rows] == ["0.0", "10.0", "20.0", "30.0"]
