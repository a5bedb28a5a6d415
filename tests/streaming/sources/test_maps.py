"""Maps of spectra in files."""

import h5py
import numpy as np
import pytest

from nearedge.callbacks.instrument import Instrument
from nearedge.models import Technique
from nearedge.streaming.sources.files.maps import read_map
from nearedge.streaming.sources.files.table import UnreadableFileError

ENERGY = 1800.0 + 0.5 * np.arange(40)
DATA = np.arange(2 * 3 * 40, dtype=np.float32).reshape(2, 3, 40)


@pytest.fixture
def instrument():
    return Instrument(absorber="Si", edge="K", technique="eels", composition="SiO2")


def write(path, data, *, names=None, unit="eV", energy=ENERGY, **axes):
    with h5py.File(path, "w") as file:
        group = file.create_group("entry/data")
        group["counts"] = data
        group["energy"] = energy
        if unit:
            group["energy"].attrs["units"] = unit
        for name, positions in axes.items():
            group[name] = positions
            group[name].attrs["units"] = "nm"
        if names:
            group.attrs["signal"], group.attrs["axes"] = "counts", names
    return path


def test_a_nexus_image_has_its_axes(tmp_path, instrument):
    path = write(
        tmp_path / "a.h5", DATA, names=["y", "x", "energy"], y=[0.0, 2.0], x=[1.0, 2.0, 3.0]
    )
    found = read_map(path, instrument)
    assert found.shape == (2, 3)
    assert [(axis.name, axis.unit, axis.positions.tolist()) for axis in found.axes] == [
        ("y", "nm", [0.0, 2.0]),
        ("x", "nm", [1.0, 2.0, 3.0]),
    ]
    assert found.spectra.energy.tolist() == ENERGY.tolist()
    assert found.spectra.mu[4].tolist() == DATA[1, 1].tolist()
    assert found.spectra.technique is Technique.EELS
    assert (found.spectra.absorber, found.spectra.formula) == ("Si", "SiO2")
    assert found.title == "a"


def test_a_stack_of_images_is_turned(tmp_path, instrument):
    path = write(tmp_path / "a.h5", np.moveaxis(DATA, -1, 0), names=["energy", "y", "x"])
    found = read_map(path, instrument)
    assert found.shape == (2, 3)
    assert found.spectra.mu[5].tolist() == DATA[1, 2].tolist()
    assert [axis.name for axis in found.axes] == ["y", "x"]
    assert found.axes[1].positions.tolist() == [0.0, 1.0, 2.0]


def test_energies_that_lie_beside_an_array_are_found(tmp_path, instrument):
    path = write(tmp_path / "a.h5", DATA, unit="")
    found = read_map(path, instrument)
    assert [axis.name for axis in found.axes] == ["axis 0", "axis 1"]
    assert len(found.spectra) == 6


def test_energies_in_kev_become_ev(tmp_path, instrument):
    path = write(tmp_path / "a.h5", DATA, unit="keV", energy=ENERGY / 1e3)
    assert read_map(path, instrument).spectra.energy == pytest.approx(ENERGY)


def test_the_largest_array_is_the_map(tmp_path, instrument):
    path = write(tmp_path / "a.h5", DATA)
    with h5py.File(path, "a") as file:
        file["entry/data/small"] = DATA[:1]
    assert read_map(path, instrument).shape == (2, 3)


def test_a_series_over_one_axis_is_a_map(tmp_path, instrument):
    path = write(tmp_path / "a.h5", DATA[0], names=["time", "energy"], time=[0.0, 0.1, 0.2])
    assert read_map(path, instrument).shape == (3,)


def test_a_spectrum_image_of_hyperspy_is_read(tmp_path, instrument):
    hspy = pytest.importorskip("rsciio.hspy")
    axes = [
        {"name": "y", "size": 2, "scale": 0.5, "offset": 1.0, "units": "nm", "navigate": True},
        {"name": "x", "size": 3, "scale": 0.5, "offset": 0.0, "units": "nm", "navigate": True},
        {
            **{"name": "Energy loss", "size": 40, "scale": 0.5, "offset": 1800.0, "units": "eV"},
            "navigate": False,
        },
    ]
    signal = {
        "data": DATA,
        "axes": [axis | {"index_in_array": k} for k, axis in enumerate(axes)],
        "metadata": {"General": {"title": "an image"}, "Signal": {"signal_type": "EELS"}},
        "original_metadata": {},
        "package_info": {"package": "hyperspy", "package_version": "2.0"},
        "package": "hyperspy",
        "package_version": "2.0",
        "tmp_parameters": {},
        "attributes": {"_lazy": False, "ragged": False},
        "learning_results": {},
        "models": {},
    }
    hspy.file_writer(str(tmp_path / "a.hspy"), signal)
    found = read_map(tmp_path / "a.hspy", instrument)
    assert found.shape == (2, 3)
    assert found.title == "an image"
    assert found.axes[0].positions.tolist() == [1.0, 1.5]
    assert found.spectra.mu[3].tolist() == DATA[1, 0].tolist()


def test_a_file_of_one_spectrum_is_no_map(tmp_path, instrument):
    path = write(tmp_path / "a.h5", DATA[0, 0])
    with pytest.raises(UnreadableFileError, match="holds no map: expected an array"):
        read_map(path, instrument)


def test_a_file_of_text_is_no_map(tmp_path, instrument):
    (tmp_path / "a.txt").write_text("1 2\n")
    with pytest.raises(UnreadableFileError, match="expected HDF5, NeXus"):
        read_map(tmp_path / "a.txt", instrument)
