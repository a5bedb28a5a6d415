from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.normalise import normalise
from nearedge.models import NormalisedSpectrum, Reason, Rejected, Spectrum, Technique
from nearedge.streaming.sources.files import read_spectra

DATA = Path(__file__).parents[2] / "data"
MEASURED = sorted((DATA / "measured").iterdir())
ENERGY = np.arange(1810.0, 1900.0, 0.5)
MU = 1 / (1 + np.exp(-(ENERGY - 1841.0)))
SILICON = Instrument()


def only(path, instrument=SILICON):
    (read,) = read_spectra(path, instrument)
    return read


def write(path, *columns, head="", separator=" "):
    lines = [separator.join(f"{value:.9g}" for value in row) for row in zip(*columns, strict=True)]
    path.write_text(head + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.name)
def test_measured_files_are_read_and_normalised(path):
    instrument = Instrument(absorber="Al" if path.name.startswith("Al") else "O")
    read = only(path, instrument)
    assert isinstance(read.spectrum, Spectrum), read.spectrum
    ours = normalise(read.spectrum, instrument.normalise)
    assert isinstance(ours, NormalisedSpectrum), ours
    assert ours.technique == ("eels" if path.suffix == ".msa" else "xanes")


@pytest.mark.parametrize(
    ("name", "absorber", "edge", "first", "last"),
    [
        ("Ce_CeO2.xdi", "Ce", "L3", np.log(179098.49899 / 252210.0999), None),
        ("S_CaSO4_rt_01.xdi", "S", "K", 20567.7612 / 312776.0, None),
        ("Sr_SrCO3_12K_01.xdi", "Sr", "K", -0.14735518, None),
    ],
)
def test_xdi_headers_name_element_and_channel(name, absorber, edge, first, last):
    spectrum = only(DATA / "measured" / name).spectrum
    assert (spectrum.absorber, spectrum.edge) == (absorber, edge)
    assert spectrum.mu[0] == pytest.approx(first, rel=1e-6)


def test_xdi_holds_the_reference_channel_and_its_header():
    read = only(DATA / "measured" / "As_as2o3_roomt_scan1.xdi")
    assert read.spectrum.reference[0] == pytest.approx(np.log(281173.246057 / 325986.938093))
    assert read.metadata["mono.name"] == "Si(111)"


XDI = "# XDI/1.0\n# Column.1: {axis}\n# Column.2: i0\n# Column.3: ifluor\n# Column.4: itrans\n"


def test_the_samples_formula_goes_with_the_spectrum(tmp_path):
    assert only(DATA / "measured" / "Fe_Fe2O3_rt_01.xdi").spectrum.formula == "Fe2O3"
    path = tmp_path / "rows.parquet"
    rows = [
        {"id": k, "energy": ENERGY, "mu": MU, "formula": f} for k, f in ((1, "SiO2"), (2, None))
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert [one.spectrum.formula for one in read_spectra(path, SILICON)] == ["SiO2", ""]
    assert only(write(tmp_path / "plain.dat", ENERGY, MU)).spectrum.formula == ""


def test_the_profile_chooses_among_the_channels(tmp_path):
    columns = ENERGY, np.full(len(MU), 2.0), MU, 2 * np.exp(-MU)
    path = write(tmp_path / "a.xdi", *columns, head=XDI.format(axis="energy eV"))
    for signal, mu in (("transmission", MU), ("fluorescence", MU / 2)):
        read = only(path, Instrument(signal=signal))
        np.testing.assert_allclose(read.spectrum.mu, mu, atol=1e-7)


@pytest.mark.parametrize(
    ("axis", "values", "more"),
    [
        ("energy keV", ENERGY / 1000, ""),
        (
            "angle degrees",
            np.degrees(np.arcsin(12398.419843 / (2 * 4.2572 * ENERGY))),
            "# Mono.d_spacing: 4.2572\n",
        ),
    ],
)
def test_xdi_energies_in_kev_or_angles_become_ev(tmp_path, axis, values, more):
    one = np.ones(len(MU))
    path = write(tmp_path / "a.xdi", values, one, MU, one, head=XDI.format(axis=axis) + more)
    np.testing.assert_allclose(only(path).spectrum.energy, ENERGY, rtol=1e-6)


@pytest.mark.parametrize("separator", [" ", ", ", "\t", ";"])
@pytest.mark.parametrize("head", ["", "# made by hand\n", "energy{}mu\n", "Energy (eV){}counts\n"])
def test_two_columns_are_energy_and_mu(tmp_path, separator, head):
    path = write(tmp_path / "a.txt", ENERGY, MU, head=head.format(separator), separator=separator)
    spectrum = only(path).spectrum
    np.testing.assert_allclose(spectrum.energy, ENERGY)
    np.testing.assert_allclose(spectrum.mu, MU, rtol=1e-8)
    assert (spectrum.absorber, spectrum.technique) == ("Si", Technique.XANES)


def test_the_unit_of_plain_columns_is_the_profiles(tmp_path):
    path = write(tmp_path / "a.csv", ENERGY / 1000, MU)
    np.testing.assert_allclose(only(path, Instrument(units="keV")).spectrum.energy, ENERGY)


def test_a_heading_names_more_columns(tmp_path):
    path = write(
        tmp_path / "a.csv", ENERGY, np.exp(MU), np.ones(len(MU)), head="energy,i0,itrans\n"
    )
    np.testing.assert_allclose(only(path).spectrum.mu, MU, atol=1e-7)


MSA = (
    "#FORMAT      : EMSA/MAS Spectral Data File\n#VERSION     : 1.0\n#NPOINTS     : {n}\n"
    "#NCOLUMNS    : 5\n#XUNITS      : {unit}\n#DATATYPE    : Y\n#XPERCHAN    : {step}\n"
    "#OFFSET      : {offset}\n#SPECTRUM    : Spectral Data Starts Here\n"
)


def test_a_detector_that_a_heading_names_again_is_asked_for(tmp_path):
    head = "# energy i0 fluo fluo\n"
    one, other = MU / 3, MU / 2
    path = write(tmp_path / "twice.dat", ENERGY, np.ones(len(MU)), one, other, head=head)
    found = only(path).spectrum
    assert isinstance(found, Rejected)
    assert "fluo, fluo_2 may all be fluorescence" in found.detail
    same = write(tmp_path / "same.dat", ENERGY, np.ones(len(MU)), one, one, head=head)
    assert only(same).spectrum.mu == pytest.approx(one)


@pytest.mark.parametrize(("unit", "scale"), [("eV", 1.0), ("keV", 1e-3)])
def test_msa_counts_lie_on_the_axis_of_the_header(tmp_path, unit, scale):
    head = MSA.format(n=180, unit=unit, step=0.5 * scale, offset=1810 * scale)
    path = write(tmp_path / "a.msa", *MU.reshape(-1, 5).T, head=head, separator=", ")
    path.write_text(path.read_text() + "#ENDOFDATA   :\n")
    spectrum = only(path).spectrum
    np.testing.assert_allclose(spectrum.energy, ENERGY)
    np.testing.assert_allclose(spectrum.mu, MU, rtol=1e-8)
    assert spectrum.technique is Technique.EELS
    assert spectrum.complete


def test_an_msa_file_with_fewer_points_than_it_says_is_incomplete(tmp_path):
    head = MSA.format(n=500, unit="eV", step=0.5, offset=1810)
    path = write(tmp_path / "a.msa", MU, head=head)
    assert not only(path).spectrum.complete


def test_parquet_gives_one_spectrum_per_row():
    rows = pq.read_table(DATA / "feff.parquet").to_pylist()
    read = read_spectra(DATA / "feff.parquet", SILICON)
    assert [r.id for r in read] == [row["id"] for row in rows]
    assert [r.spectrum.absorber for r in read] == [row["absorber"] for row in rows]
    np.testing.assert_array_equal(read[3].spectrum.mu, rows[3]["mu"])
    for r in read:
        assert isinstance(normalise(r.spectrum, SILICON.normalise), NormalisedSpectrum)


def test_rows_of_parquet_that_are_no_spectra_are_refused_one_by_one(tmp_path):
    table = pa.table(
        {
            "id": ["good", "uneven", "empty"],
            "energy": [list(ENERGY), list(ENERGY), None],
            "mu": [list(MU), [1.0, 2.0], None],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    good, uneven, empty = read_spectra(tmp_path / "a.parquet", SILICON)
    assert isinstance(good.spectrum, Spectrum)
    assert uneven.spectrum.reason is empty.spectrum.reason is Reason.UNREADABLE


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no rows of numbers"),
        (b"hello\nworld\n", "no rows of numbers"),
        (b"\x89HDF\r\n\x1a\n\0\0", "HDF5 cannot open it"),
        (b"\x7fELF\1\0\3", "binary"),
        (b"PAR1 and no more", "Parquet"),
        (b"1 2 3\n4 5 6\n", "3 columns"),
        (b"1 2\n3 4 5\n", "line 2"),
        (b"1 2\n3 four\n", "line 2"),
        (b"# XDI/1.0\n1 2\n", "header names columns"),
        (b"# XDI/1.0\n# Column.1: energy furlong\n# Column.2: mu\n1 2\n", "furlong"),
        (b"# XDI/1.0\n# Column.1: angle deg\n# Column.2: mutrans\n1 2\n", "d_spacing"),
        (b"# XDI/1.0\n# Column.1: energy eV\n# Column.2: mood\n1 2\n", "mood"),
        (b"#FORMAT: EMSA/MAS\n#OFFSET: 1\n#SPECTRUM:\n1\n2\n", "XPERCHAN"),
        (b"#FORMAT: EMSA/MAS\n#OFFSET: x\n#XPERCHAN: 1\n#SPECTRUM:\n1\n", "OFFSET"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path, content, said):
    path = tmp_path / "file.dat"
    path.write_bytes(content)
    refusal = only(path).spectrum
    assert refusal.reason is Reason.UNREADABLE
    assert said in refusal.detail
    assert "file.dat" in refusal.detail


def test_parquet_without_the_columns_names_them(tmp_path):
    pq.write_table(pa.table({"id": ["a"], "mu": [[1.0]]}), tmp_path / "a.parquet")
    assert "energy" in only(tmp_path / "a.parquet").spectrum.detail


def test_a_missing_file_or_a_folder_is_unreadable(tmp_path):
    for path in (tmp_path / "none.xdi", tmp_path):
        assert only(path).spectrum.reason is Reason.UNREADABLE


HEADS = ["", "PAR1", "# XDI/1.0\n", "# XDI/1.0\n# Column.1: energy eV\n# Column.2: mutrans\n", MSA]


@given(head=st.sampled_from(HEADS), body=st.one_of(st.binary(max_size=200), st.text(
    alphabet="0123456789.,;-+eE #:\nnaif", max_size=200).map(str.encode)))  # fmt: skip
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_nothing_crashes_it(tmp_path, head, body):
    path = tmp_path / "hostile"
    path.write_bytes(head.encode() + body)
    for read in read_spectra(path, SILICON):
        if not isinstance(read.spectrum, Rejected):
            normalise(read.spectrum, SILICON.normalise)
