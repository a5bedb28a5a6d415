"""Files that hold several spectra: SPEC, Athena projects, HDF5 and those of microscopes."""

import gzip
import json

import h5py
import numpy as np
import pytest

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.normalise import normalise
from nearedge.models import Reason, Rejected, Technique
from nearedge.streaming.sources.files import read_spectra

ENERGY = np.arange(8900.0, 9100.0, 1.0)
MU = 0.3 + 1 / (1 + np.exp(-(ENERGY - 8985.0)))
I0 = np.full(len(MU), 1e5)
COPPER = Instrument(absorber="Cu")


def found(path, instrument=COPPER):
    return {one.id: one.spectrum for one in read_spectra(path, instrument)}


def test_every_scan_of_a_spec_file_is_a_spectrum(tmp_path):
    scans = "".join(
        f"#S {n} escan\n#N 2\n#L Energy  mu\n"
        + "".join(f"{e} {n * m}\n" for e, m in zip(ENERGY, MU, strict=True)) + "\n"
        for n in (1, 2)
    )  # fmt: skip
    path = tmp_path / "two.spec"
    path.write_text("#F two\n#E 1\n\n" + scans + "#S 3 ascan y 0 1\n#N 2\n#L y  I0\n0 1\n1 2\n\n")
    read = found(path)
    assert list(read) == ["two.spec#scan 1.1", "two.spec#scan 2.1", "two.spec#scan 3.1"]
    one, two, alignment = read.values()
    np.testing.assert_allclose(two.mu, 2 * one.mu)
    assert alignment.reason is Reason.NOT_A_SAMPLE


def test_a_line_of_a_spec_file_that_makes_no_sense_is_named(tmp_path):
    path = tmp_path / "a.spec"
    rows = "".join(f"{e} {m}\n" for e, m in zip(ENERGY, MU, strict=True))
    head = "#F a\n\n#S 1 escan at 20 °C\n#N 2\n#L Energy  mu\n"
    broken = rows.replace("8950.0 ", "89x0.0 ")
    text = head + rows + "\n" + head.partition("\n\n")[2] + broken + "\n#S 2 escan\n"
    path.write_bytes(text.encode("latin-1"))
    good, bad, empty = found(path).values()
    np.testing.assert_allclose(good.mu, MU)
    assert f"line {text[: text.index('89x0')].count(chr(10)) + 1} is '89x0.0" in bad.detail
    assert "no rows of numbers" in empty.detail


def test_spectra_of_analysers_in_a_spec_file_are_passed_over(tmp_path):
    path = tmp_path / "a.spec"
    channels = "@A 1 2 3 4\\\n 5 6 7 8\n"
    rows = "".join(f"{e} {m}\n{channels}" for e, m in zip(ENERGY, MU, strict=True))
    path.write_text("#S 1 escan\n#N 2\n#L Energy  mu\n" + rows)
    (spectrum,) = found(path).values()
    np.testing.assert_allclose(spectrum.mu, MU)


def athena(path, groups):
    from larch import Group
    from larch.io import AthenaProject

    project = AthenaProject(str(path))
    for label, mu in groups:
        project.add_group(Group(energy=ENERGY.copy(), mu=mu, __name__=label, filename=label))
    project.save()
    return path


def test_every_group_of_an_athena_project_is_a_spectrum(tmp_path):
    read = found(athena(tmp_path / "a.prj", [("CuO", MU), ("CuO", 2 * MU), ("foil", 3 * MU)]))
    assert list(read) == ["a.prj#CuO", "a.prj#CuO (2)", "a.prj#foil"]
    for factor, spectrum in enumerate(read.values(), start=1):
        np.testing.assert_allclose(spectrum.mu, factor * MU, rtol=1e-6)


def test_athena_s_json_form_is_read_and_its_shift_applied(tmp_path):
    args = {"label": "CuO", "is_xmu": 1, "bkg_eshift": "1.5", "bkg_z": "Cu", "fft_edge": "k"}
    good = {"args": args, "x": [*map(str, ENERGY)], "y": [*map(str, MU)]}
    chi = {"args": {"label": "chi", "is_chi": 1}, "x": ["0.1", "0.2"], "y": ["0", "1"]}
    project = {
        "_____header1": "# Athena project file -- Demeter version 0.9.26",
        "_____order": ["aaaaa", "bbbbb", "ccccc"],
        "aaaaa": good,
        "bbbbb": chi,
    }
    path = tmp_path / "a.prj"
    path.write_text(json.dumps(project))
    spectrum, chi_k, lost = found(path, Instrument()).values()
    np.testing.assert_allclose(spectrum.energy, ENERGY + 1.5)
    assert (spectrum.absorber, spectrum.edge) == ("Cu", "K")
    assert "chi(k)" in chi_k.detail
    assert lost.reason is Reason.UNREADABLE


def test_a_project_without_groups_says_so(tmp_path):
    path = tmp_path / "a.prj"
    path.write_text('{"_____header1": "# Athena project file -- Demeter version 0.9.26"}')
    assert "without a group" in found(path)["a.prj"].detail


def entry(file, name="entry", kind="NXentry"):
    group = file.create_group(name)
    group.attrs["NX_class"] = kind
    return group


def test_every_scan_of_bliss_is_a_spectrum(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in ("1.1", "2.1"):
            scan = entry(entry(file, name), "measurement", "NXcollection")
            scan["energy_enc"], scan["I0"] = ENERGY / 1e3, I0
            scan["I1"], scan["image"] = I0 * np.exp(-MU), np.zeros((len(I0), 2, 2))
        entry(entry(file, "3.1"), "measurement", "NXcollection")["y"] = ENERGY
    read = found(tmp_path / "a.h5")
    assert list(read) == ["a.h5#1.1", "a.h5#2.1"]
    np.testing.assert_allclose(read["a.h5#2.1"].energy, ENERGY)
    np.testing.assert_allclose(read["a.h5#2.1"].mu, MU)


@pytest.mark.parametrize(
    ("mode", "expected"), [("Transmission", MU), ("Fluorescence Yield", np.exp(-MU)), (None, None)]
)
def test_nxxas_says_of_what_its_absorbed_beam_is(tmp_path, mode, expected):
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        scan = entry(file)
        scan["definition"], scan["element"], scan["edge"] = "NXxas", "Cu", "K"
        mono = entry(entry(scan, "instrument", "NXinstrument"), "monochromator", "NXmonochromator")
        mono["energy"] = ENERGY
        entry(scan["instrument"], "incoming_beam", "NXdetector")["data"] = I0
        entry(scan["instrument"], "absorbed_beam", "NXdetector")["data"] = I0 * np.exp(-MU)
        data = entry(scan, "data", "NXdata")
        data["energy"] = h5py.SoftLink("/entry/instrument/monochromator/energy")
        data["absorbed_beam"] = h5py.SoftLink("/entry/instrument/absorbed_beam/data")
        if mode:
            data["mode"] = mode
    (spectrum,) = found(tmp_path / "a.nxs", Instrument()).values()
    if expected is None:
        assert isinstance(spectrum, Rejected)
    else:
        assert spectrum.absorber == "Cu"
        np.testing.assert_allclose(spectrum.mu, expected)


def written(path, **columns):
    """Write an HDF5 file with an NXdata of these columns; return it open, to change it."""
    file = h5py.File(path, "w")
    entry = file.create_group("entry")
    entry.attrs["NX_class"] = np.bytes_("NXentry")
    entry.attrs["default"] = np.bytes_("plot")
    plot = entry.create_group("plot")
    plot.attrs["NX_class"] = "NXdata"
    for name, values in columns.items():
        plot[name] = values
    return file


def test_texts_of_hdf5_may_be_bytes_and_an_axis_in_ev_is_its_energies(tmp_path):
    with written(tmp_path / "a.h5", x=ENERGY / 1e3, y=MU) as file:
        plot = file["entry/plot"]
        plot.attrs["axes"], plot.attrs["signal"] = np.bytes_("x"), np.bytes_("y")
        plot["x"].attrs["units"] = np.bytes_("keV")
        other = file["entry"].create_group("data")
        other["energy"], other["mu"] = ENERGY, 9 * MU
    (spectrum,) = found(tmp_path / "a.h5", Instrument(absorber="Fe")).values()
    np.testing.assert_allclose(spectrum.energy, ENERGY)
    np.testing.assert_array_equal(spectrum.mu, MU)


@pytest.mark.parametrize("kind", ["alone", "with I0 of the entry"])
def test_every_nxdata_of_the_same_columns_is_a_spectrum(tmp_path, kind):
    """The attribute ``default`` chooses what is drawn first, not what is measured."""
    alone = kind == "alone"
    with written(tmp_path / "a.h5", energy=ENERGY, **({"mu": MU} if alone else {})) as file:
        scan = file["entry"]
        if not alone:
            scan["plot/it"], scan["i0"] = I0 * np.exp(-MU), I0
        other = scan.create_group("second")
        other.attrs["NX_class"] = "NXdata"
        for name, values in scan["plot"].items():
            other[name] = values[()] if name == "energy" else values[()] ** 2 / 1e5 ** (not alone)
        scan["again"] = h5py.SoftLink("/entry/plot")
    one, two = (found(tmp_path / "a.h5")[f"a.h5#{name}"] for name in ("plot", "second"))
    assert len(found(tmp_path / "a.h5")) == 2
    np.testing.assert_allclose(one.mu, MU)
    np.testing.assert_allclose(two.mu, MU**2 if alone else 2 * MU)


def test_a_copy_of_an_nxdata_is_no_second_spectrum(tmp_path):
    with written(tmp_path / "a.h5", energy=ENERGY, mu=MU) as file:
        file.copy("entry/plot", "entry/copy")
    assert list(found(tmp_path / "a.h5")) == ["a.h5"]


def test_columns_of_hdf5_may_be_a_table_or_have_a_second_axis(tmp_path):
    table = np.rec.fromarrays([ENERGY, I0, I0 * np.exp(-MU)], names="energy,i0,it")
    with h5py.File(tmp_path / "table.h5", "w", userblock_size=512) as file:
        file["scan"] = table
        file["image"] = np.zeros((3, 4))
    written(tmp_path / "n1.h5", energy=ENERGY[:, None], mu=MU[:, None]).close()
    for name in ("table", "n1"):
        (spectrum,) = found(tmp_path / f"{name}.h5").values()
        np.testing.assert_allclose(spectrum.mu, MU)


def test_every_element_of_a_detector_in_hdf5_counts(tmp_path):
    counts = np.outer(MU, [1.0, 2.0, 3.0])
    written(tmp_path / "a.h5", energy=ENERGY, i0=I0, fluor=counts).close()
    (one,) = read_spectra(tmp_path / "a.h5", COPPER)
    assert one.signal == "(fluor_1 + fluor_2 + fluor_3)/i0"
    np.testing.assert_allclose(one.spectrum.mu, 6 * MU / I0)


def test_text_that_gzip_packed_is_read(tmp_path):
    text = "energy mu\n" + "".join(f"{e} {m}\n" for e, m in zip(ENERGY, MU, strict=True))
    packed = gzip.compress(text.encode())
    (tmp_path / "a.dat.gz").write_bytes(packed)
    (spectrum,) = found(tmp_path / "a.dat.gz").values()
    np.testing.assert_allclose(spectrum.mu, MU)
    (tmp_path / "a.dat.gz").write_bytes(packed[:-20])
    assert "gzip cannot" in found(tmp_path / "a.dat.gz")["a.dat.gz"].detail


@pytest.mark.parametrize(
    ("begins", "said"),
    [
        (b"PK\3\4", "CSV"),
        (b"\xd0\xcf\x11\xe0", "CSV"),
        (b"%PDF-1.4\n", "PDF"),
        (b"\x93NUMPY", "savetxt"),
    ],
)
def test_other_known_forms_say_what_to_do(tmp_path, begins, said):
    (tmp_path / "a.dat").write_bytes(begins + bytes(99))
    assert said in found(tmp_path / "a.dat")["a.dat"].detail


def test_hdf5_without_columns_says_so(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = np.zeros((3, 3))
    assert "columns" in found(tmp_path / "a.h5")["a.h5"].detail


def test_every_position_of_a_spectrum_image_is_a_spectrum(tmp_path):
    from rsciio import hspy

    energy = np.arange(480.0, 640.0, 0.5)
    edge = 3000 / (1 + np.exp(-(energy - 535) / 0.8))
    counts = 1e4 * np.exp(-(energy - 480) / 60) + edge
    axes = [
        {"name": "x", "size": 2, "navigate": True, "offset": 0.0, "scale": 1.0, "units": "nm"},
        {"name": "E", "size": len(energy), "navigate": False, "offset": 480.0, "scale": 0.5}
        | {"units": "eV"},
    ]
    signal = {
        "data": np.stack([counts, 2 * counts]),
        "axes": axes,
        "metadata": {"General": {"title": "map"}, "Signal": {"signal_type": "EELS"}},
        "original_metadata": {},
        "attributes": {"_lazy": False, "ragged": False},
        "package_info": {"package": "hyperspy", "package_version": "2.5"},
        "package": "hyperspy",
        "package_version": "2.5",
        "learning_results": {},
        "models": {},
        "tmp_parameters": {},
    }
    hspy.file_writer(str(tmp_path / "a.hspy"), signal)
    instrument = Instrument(absorber="O", technique="eels", signal="spectrum")
    one, two = found(tmp_path / "a.hspy", instrument).values()
    assert one.technique is Technique.EELS
    np.testing.assert_allclose(two.mu, 2 * one.mu)
    assert normalise(one, instrument.normalise).e0 == pytest.approx(535, abs=1)


def test_without_rosettasciio_its_files_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rsciio.digitalmicrograph", None)
    (tmp_path / "a.dm3").write_bytes(b"\0\0\0\3")
    assert "nearedge[eels]" in found(tmp_path / "a.dm3")["a.dm3"].detail


def test_broken_files_of_microscopes_end_with_a_reason(tmp_path):
    for name in ("a.dm4", "a.emd", "a.hspy"):
        (tmp_path / name).write_bytes(b"\0\0\0\4 nothing of the kind")
        assert "RosettaSciIO cannot read it" in found(tmp_path / name)[name].detail
