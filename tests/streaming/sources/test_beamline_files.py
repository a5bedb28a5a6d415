"""Layouts of beamlines, all with one spectrum: who reads one rightly reads all rightly."""

from pathlib import Path

import numpy as np
import pytest

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.normalise import normalise
from nearedge.models import NormalisedSpectrum, Reason, Rejected, Spectrum
from nearedge.streaming.sources.files import parse_columns, read_spectra
from nearedge.streaming.sources.files.rows import decode, lines_of, read_rows
from nearedge.streaming.sources.files.spec import is_spec, read_spec

DATA = Path(__file__).parents[2] / "data" / "files"
MEASURED = DATA.parent / "measured"
COPPER = Instrument(absorber="Cu")
NAMED = {
    "alba-claess.dat": "energy=2,i0=3,it=4",
    "kit-xas.dat": "i0=IC1,it=IC2",
}
FLUORESCENCE = {"esrf-id26.dat", "nslsii-bmm-fluorescence.002"}
NO_SPECTRUM = {"README.md", "fdmnes.txt"}
SPECIMENS = sorted(path for path in DATA.iterdir() if path.name not in NO_SPECTRUM)


def spectra(path, instrument=COPPER, columns=None):
    read = read_spectra(path, instrument, columns=columns)
    return [one.spectrum for one in read if getattr(one.spectrum, "reason", "") != "not-a-sample"]


def test_enough_layouts_are_tried():
    assert len(SPECIMENS) >= 30
    assert len(SPECIMENS) - len(NAMED) >= 28


@pytest.mark.parametrize("path", SPECIMENS, ids=lambda path: path.name)
def test_a_beamline_s_layout_gives_the_spectrum(path):
    said = NAMED.get(path.name)
    (spectrum,) = spectra(path, columns=parse_columns(said) if said else None)
    assert isinstance(spectrum, Spectrum), spectrum
    ours = normalise(spectrum, COPPER.normalise)
    assert isinstance(ours, NormalisedSpectrum), ours
    assert ours.e0 == pytest.approx(8984.0, abs=0.1)
    assert ours.flat.max() == pytest.approx(1.57, abs=0.01)
    if path.name not in FLUORESCENCE:
        assert ours.edge_step == pytest.approx(0.876, abs=0.003)
    assert ours.flags == ()


@pytest.mark.parametrize("name", NAMED)
def test_a_layout_with_names_of_its_own_lists_its_columns(name):
    (refusal,) = spectra(DATA / name)
    assert "--columns" in refusal.detail
    assert "nergy" in refusal.detail


def test_the_profile_s_roles_name_columns_of_a_file():
    roles = {"energy": "Energy (eV)", "i0": "IC1", "it": "IC2"}
    instrument = Instrument.model_validate({"absorber": "Cu", "roles": roles})
    (spectrum,) = spectra(DATA / "kit-xas.dat", instrument)
    assert isinstance(spectrum, Spectrum), spectrum


def test_an_alignment_scan_beside_a_spectrum_is_no_sample():
    alignment, scan = read_spectra(DATA / "esrf-id26.dat", COPPER)
    assert alignment.spectrum.reason is Reason.NOT_A_SAMPLE
    assert "ascan samz" in alignment.spectrum.detail
    assert scan.id == "esrf-id26.dat#scan 2.1"


@pytest.mark.parametrize(
    ("name", "signal", "told"),
    [
        ("nslsii-bmm.001", "fluorescence", "ifluor"),
        ("aps-20bm.dat", "fluorescence", "ifluor"),
        ("sls-superxas.dat", "reference", "irefer"),
        ("soleil-rock.txt", "fluorescence", "ifluor"),
        ("esrf-lisa.xdi", "transmission", "itrans"),
    ],
)
def test_nothing_stands_in_for_the_signal_that_the_profile_asks_for(name, signal, told):
    (refusal,) = spectra(DATA / name, Instrument(absorber="Cu", signal=signal))
    assert isinstance(refusal, Rejected)
    assert told in refusal.detail
    assert "nergy" in refusal.detail


@pytest.mark.parametrize(
    ("name", "measured"),
    [
        ("aps-20bm.dat", "transmission"),
        ("esrf-lisa.xdi", "fluorescence"),
        ("esrf-id26.dat", "fluorescence"),
        ("soleil-rock.txt", "transmission"),
        ("athena.nor", "mu"),
    ],
)
def test_what_a_file_measured_is_told(name, measured):
    assert read_spectra(DATA / name, COPPER)[-1].measured == measured


def test_the_foil_is_never_taken_for_the_sample(tmp_path):
    energy = np.arange(8900.0, 9100.0)
    path = tmp_path / "a.txt"
    head = "energy detector itrans irefer\n"
    path.write_text(head + "".join(f"{e} 9 {2000 - e % 7} {1500 - e % 3}\n" for e in energy))
    (refusal,) = spectra(path)
    assert "detector" in refusal.detail


def of_columns(tmp_path, head, **columns):
    """Write columns below a heading; the spectrum that is read, and what it is made of."""
    path = tmp_path / "a.txt"
    rows = "".join(
        " ".join(f"{v:.6f}" for v in row) + "\n" for row in zip(*columns.values(), strict=True)
    )
    path.write_text(f"{head}\n{rows}")
    (found,) = read_spectra(path, COPPER)
    return found


ENERGY = np.arange(8900.0, 9100.0)
I0 = 1000 + ENERGY % 7
MU = 0.3 + 0.9 / (1 + np.exp(-(ENERGY - 8984.0)))


@pytest.mark.parametrize(
    "head",
    [
        "E_photon I0 It",
        "mono_e(eV) I0Detector TransDetector",
        "energy_eV\tI0_A\tIt_A",
        "Energy/eV I0/A It/A",
        "Energy, eV\tI0, nA\tI1, nA",
        "# Columns: Energy[eV] I0Detector I1Detector",
        "Mono Energy *  preKB I0 *  It *",
    ],
)
def test_names_of_other_beamlines_are_known(tmp_path, head):
    found = of_columns(tmp_path, head, energy=ENERGY, i0=I0, it=I0 * np.exp(-MU))
    assert found.measured == "transmission", found.spectrum
    np.testing.assert_allclose(found.spectrum.mu, MU, atol=1e-6)


def test_numbered_detectors_are_not_taken_for_elements_of_one(tmp_path):
    detectors = {"det1": I0 * np.exp(-MU), "det2": I0 * np.exp(-2 * MU)}
    found = of_columns(tmp_path, "energy monitor det1 det2", energy=ENERGY, i0=I0, **detectors)
    assert isinstance(found.spectrum, Rejected)
    assert "det1, det2" in found.spectrum.detail


def test_columns_of_mda2ascii_have_the_names_of_their_pvs(tmp_path):
    head = "\n".join([
        "# Column Descriptions:", "#    1  [     1-D Scan 1    ]   (Index)",
        "#    2  [1-D Positioner 1]  BL01:ENERGY_SP, , LINEAR, eV, , , ",
        "#    3  [1-D Detector   1]  BL01:IC1, upstream, counts",
        "#    4  [1-D Detector   2]  BL01:IC2, downstream, counts", "# 1-D Scan Values",
    ])  # fmt: skip
    columns = {"n": ENERGY - 8899, "e": ENERGY, "i0": I0, "it": I0 * np.exp(-MU)}
    refused = of_columns(tmp_path, head, **columns).spectrum
    assert "BL01:ENERGY_SP, BL01:IC1, BL01:IC2 do not give" in refused.detail
    chosen = parse_columns("i0=BL01:IC1,it=BL01:IC2")
    (spectrum,) = spectra(tmp_path / "a.txt", columns=chosen)
    np.testing.assert_allclose(spectrum.mu, MU, atol=1e-6)


def test_every_element_of_a_9809_file_counts(tmp_path):
    whole = (DATA / "pf-bl12c.dat").read_text()
    head, _, body = whole.partition("      Mode")
    rows = [line.split() for line in body.splitlines()[2:]]
    mode = "      Mode         0         0         3         3         3         1"
    offset = "    Offset         0         0     0.000     0.000     0.000     0.000"
    scan = [[a, b, t, f, f, f, i0] for a, b, t, i0, _, f in rows]
    path = tmp_path / "ssd.dat"
    path.write_text("\n".join([head.rstrip("\n"), mode, offset, *(" ".join(row) for row in scan)]))
    (found,) = read_spectra(path, COPPER)
    assert found.signal == "(if_1 + if_2 + if_3)/i0"
    three = 3 * np.array([float(f) / float(i0) for *_, f, i0 in scan])
    np.testing.assert_allclose(found.spectrum.mu, three)


def test_relative_energies_are_told_as_such():
    (spectrum,) = spectra(DATA / "fdmnes.txt")
    refusal = normalise(spectrum, COPPER.normalise)
    assert refusal.reason is Reason.WRONG_UNITS
    assert "relative" in refusal.detail
    assert "energy_shift" in refusal.detail
    shifted = COPPER.normalise.model_copy(update={"energy_shift": 8984.0})
    assert normalise(spectrum, shifted).e0 == pytest.approx(8984.0, abs=0.1)


@pytest.mark.parametrize("text", ["energy", "energy=", "colour=1", "i0=1,i0=2", "it=3+4"])
def test_columns_that_make_no_sense_are_refused(text):
    with pytest.raises(ValueError, match="--columns"):
        parse_columns(text)


def test_columns_beyond_the_file_are_refused():
    (refusal,) = spectra(DATA / "sls-superxas.dat", columns=parse_columns("energy=1,mu=7"))
    assert "2 columns" in refusal.detail


def test_without_larch_the_plain_layouts_are_read_and_the_others_say_what_to_install(monkeypatch):
    for name in ("larch", "larch.io", "larch.io.xafs_beamlines"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    for name in ("dls-b18.dat", "esrf-bm23.dat"):
        (spectrum,) = spectra(DATA / name)
        assert isinstance(spectrum, Spectrum)
    (refusal,) = spectra(DATA / "ssrl-7-3.dat")
    assert "nearedge[files]" in refusal.detail


@pytest.mark.parametrize("name", ["alba-claess", "esrf-bm23", "esrf-id26", "kit-xas"])
def test_silx_reads_the_same_numbers_of_spec_files(name):
    from silx.io.specfile import SpecFile

    path = DATA / f"{name}.dat"
    lines = lines_of(decode(path.read_bytes()))
    assert is_spec(lines)
    for ours, theirs in zip(read_spec(lines), SpecFile(str(path)), strict=True):
        assert ours.name == f"scan {theirs.number}.{theirs.order}"
        np.testing.assert_allclose(list(ours.columns.values()), theirs.data, rtol=1e-9)
        first = theirs.labels[0].removesuffix(" (eV)")
        assert next(iter(ours.columns)) == first


def test_larch_reads_the_same_numbers():
    from larch.io import read_ascii

    # encodings, cells and trailers that Larch does not read, and files of several scans
    ours_alone = {
        "bessy-kmc2.dat",
        "anstoxas.csv",
        "maxiv-balder.csv",
        "esrf-id26.dat",
        "cls-hxma.dat",
    }
    for path in SPECIMENS:
        if path.name in ours_alone:
            continue
        lines = lines_of(decode(path.read_bytes()))
        begin = next((n + 1 for n, line in enumerate(lines) if line.split()[:1] == ["Offset"]), 0)
        theirs = np.asarray(read_ascii(str(path)).data, dtype=float)
        np.testing.assert_array_equal(read_rows(lines[begin:]).values.T, theirs, err_msg=path.name)


@pytest.mark.parametrize("path", sorted(MEASURED.glob("*.xdi")), ids=lambda path: path.name)
def test_larch_reads_the_same_energies_of_xdi_files(path):
    from larch.io import read_xdi

    theirs = read_xdi(str(path))
    (one,) = read_spectra(path, Instrument())
    np.testing.assert_allclose(one.spectrum.energy, theirs.energy)
    assert one.spectrum.absorber == theirs.element.strip()
    if hasattr(theirs, "i0") and hasattr(theirs, "itrans") and not hasattr(theirs, "mutrans"):
        np.testing.assert_allclose(one.spectrum.mu, np.log(theirs.i0 / theirs.itrans))
