"""Spectrum images of DigitalMicrograph are read with their axes, and answered or flagged.

The files are written here as Gatan's version 3 has them: tags in groups, numbers of tags and of
data in big-endian order, data in little-endian order, the fastest axis first.
"""

import struct
from pathlib import Path

import numpy as np
import pytest

from nearedge.callbacks.instrument import Instrument
from nearedge.models import Technique
from nearedge.models.many_spectra import NormalisedSpectra
from nearedge.models.normalise.many.eels import normalise_many_eels
from nearedge.streaming.sources.files import read_spectra
from nearedge.streaming.sources.files.maps import read_map

pytest.importorskip("rsciio.digitalmicrograph")

GROUP, DATA = 20, 21
ARRAY, USHORT, LONG, FLOAT, ULONG = 20, 4, 3, 6, 5
FLOAT_IMAGE, BYTES = 2, 4
SPECTRUM_IMAGE = {"Meta Data": {"Format": "Spectrum image", "Signal": "EELS"}}
#: O K of SiO2 on its background: eV, x in nm, y in nm.
ENERGY = 500.0 + 0.5 * np.arange(240)
NX, NY, STEP = 3, 2, 0.4


def tags(entries):
    """Return a group of tags: sorted, closed, and each with its name."""
    body = b"".join(tag(name, value) for name, value in entries)
    return struct.pack(">bbl", 1, 0, len(entries)) + body


def tag(name, value):
    named = name.encode("latin-1")
    kind = GROUP if isinstance(value, dict | list) else DATA
    start = struct.pack(">bh", kind, len(named)) + named
    if isinstance(value, dict):
        return start + tags(list(value.items()))
    if isinstance(value, list):  # tags without names
        return start + tags([("", one) for one in value])
    return start + data(value)


def data(value):
    if isinstance(value, str):
        numbers = value.encode("utf-16-le")
        info = [ARRAY, USHORT, len(value)]
    elif isinstance(value, np.ndarray):
        numbers, info = value.astype("<f4").tobytes(), [ARRAY, FLOAT, value.size]
    elif isinstance(value, float):
        numbers, info = struct.pack("<f", value), [FLOAT]
    else:
        numbers, info = struct.pack("<L", value), [ULONG]
    return b"%%%%" + struct.pack(f">{len(info) + 1}l", len(info), *info) + numbers


def calibrated(scale, offset, unit):
    """Return the tags of an axis; its origin is told in channels, to be subtracted."""
    return {"Origin": float(-offset / scale), "Scale": float(scale), "Units": unit}


def write_dm3(path, counts, axes, image_tags):
    """Write counts, whose axes (scale, offset, unit) are told as numpy has them: slowest first."""
    image = {
        "ImageData": {
            "Calibrations": {
                "Brightness": calibrated(1.0, 0.0, "e-"),
                "Dimension": [calibrated(*axis) for axis in reversed(axes)],
            },
            "Data": counts.ravel(),
            "DataType": FLOAT_IMAGE,
            "Dimensions": list(reversed(counts.shape)),
            "PixelDepth": BYTES,
        },
        "ImageTags": image_tags,
        "Name": "grain boundary",
    }
    root = tags([("ImageList", [image])])
    path.write_bytes(struct.pack(">lll", 3, len(root), 1) + root)
    return path


@pytest.fixture
def counts():
    """Counts (energy, y, x): DigitalMicrograph keeps images of one energy together."""
    rng = np.random.default_rng(1)
    edge = 1 / (1 + np.exp(-(ENERGY - 537) / 0.8))
    peak = np.exp(-0.5 * ((ENERGY - 540) / 2) ** 2)
    one = 3e4 * (ENERGY / 500) ** -3.0 + 2e4 * (edge + 0.6 * peak) * (ENERGY / 537) ** -3.0
    scale = 1 + 0.1 * np.arange(NX * NY).reshape(NY, NX)
    return rng.poisson(one[:, None, None] * scale).astype(np.float32)


@pytest.fixture
def instrument():
    return Instrument(absorber="O", edge="K", technique="eels", signal="spectrum")


def test_a_spectrum_image_is_read_with_its_axes(tmp_path, counts, instrument):
    axes = [(0.5, 500.0, "eV"), (STEP, 2.0, "nm"), (STEP, 0.0, "nm")]
    found = read_map(write_dm3(tmp_path / "a.dm3", counts, axes, SPECTRUM_IMAGE), instrument)
    assert found.shape == (NY, NX)
    assert found.title == "grain boundary"
    assert [(axis.name, axis.unit) for axis in found.axes] == [("y", "nm"), ("x", "nm")]
    assert found.axes[0].positions == pytest.approx([2.0, 2.4])
    assert found.axes[1].positions == pytest.approx([0.0, 0.4, 0.8])
    assert found.spectra.technique is Technique.EELS
    assert found.spectra.energy == pytest.approx(ENERGY, abs=1e-3)
    assert found.spectra.mu[NX].tolist() == counts[:, 1, 0].tolist()


def test_its_spectra_are_normalised_about_their_edge(tmp_path, counts, instrument):
    axes = [(0.5, 500.0, "eV"), (STEP, 0.0, "nm"), (STEP, 0.0, "nm")]
    found = read_map(write_dm3(tmp_path / "a.dm3", counts, axes, SPECTRUM_IMAGE), instrument)
    normalised = normalise_many_eels(found.spectra)
    assert isinstance(normalised, NormalisedSpectra)
    assert not normalised.rejected
    assert normalised.e0 == pytest.approx(537, abs=1.5)


@pytest.mark.parametrize(("scale", "unit"), [(0.5e-3, "keV"), (500.0, "meV"), (0.5, "eV")])
def test_a_line_of_spectra_in_any_unit_is_read(tmp_path, counts, instrument, scale, unit):
    line = counts[:, 0].T
    axes = [(STEP, 0.0, "µm"), (scale, 1000 * scale, unit)]
    found = read_map(
        write_dm3(tmp_path / "a.dm3", line, axes, {"Meta Data": {"Format": "Spectrum"}}), instrument
    )
    assert found.shape == (NX,)
    assert found.axes[0].unit == "µm"
    assert found.spectra.energy == pytest.approx(ENERGY, abs=1e-2)


def test_every_position_is_a_spectrum_of_its_own(tmp_path, counts, instrument):
    axes = [(0.5, 500.0, "eV"), (STEP, 0.0, "nm"), (STEP, 0.0, "nm")]
    path: Path = write_dm3(tmp_path / "a.dm3", counts, axes, SPECTRUM_IMAGE)
    spectra = list(read_spectra(path, instrument))
    assert len(spectra) == NX * NY
    assert spectra[1].spectrum.mu.tolist() == counts[:, 0, 1].tolist()
