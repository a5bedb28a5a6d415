"""Detector files in the forms that beamlines write, older ones among them."""

import uuid

import h5py
import numpy as np
import pytest

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.reduce import reduce
from nearedge.models import Reason, Rejected

POINTS, CHANNELS, BINS = 12, 2, 256
LINE = (100, 120)
ENERGIES = np.linspace(1830.0, 1890.0, POINTS)
COUNTS = np.random.default_rng(11).poisson(50.0, (3 * POINTS, CHANNELS, BINS)).astype("u4")
IN_LINE = COUNTS[..., slice(*LINE)].sum(axis=-1).astype(float)
KEYS = ("xs_channel1", "xs_channel2")


@pytest.fixture
def folder(tmp_path):
    with h5py.File(tmp_path / "xs.h5", "w") as file:
        file["entry/instrument/detector/data"] = COUNTS
        file["entry/data/data"] = COUNTS[:, 0]
    return tmp_path


@pytest.fixture
def fluorescence(folder):
    def instrument(keys=KEYS, roi=LINE, **changes):
        roles = {"energy": "mono", "i0": "i0", "if_": keys, "roi": roi}
        return Instrument.model_validate(
            {"signal": "fluorescence", "roles": roles, "readable_roots": (str(folder),), **changes}
        )

    return instrument


def run(keys, shape, files, *, datum=None, spans=None):
    """A step scan whose fluorescence lies in files: named by ``datum`` or by ``spans``."""
    scalars = {k: {"source": "s", "dtype": "number", "shape": []} for k in ("mono", "i0")}
    filed = {"source": "f", "dtype": "array", "shape": shape, "external": "FILE:"}
    yield "start", {"uid": "a", "time": 1.0, "num_points": POINTS}
    yield ("descriptor", {"uid": "d", "run_start": "a", "name": "primary", "time": 1.5,
                          "data_keys": scalars | dict.fromkeys(keys, filed)})  # fmt: skip
    yield from files
    for k, energy in enumerate(ENERGIES):
        data = {"mono": energy, "i0": 1e6}
        for channel, key in enumerate(keys, start=1):
            if datum is not None:
                data[key] = uid = str(uuid.uuid4())
                kwargs = datum(k, channel)
                yield "datum", {"datum_id": uid, "resource": "r", "datum_kwargs": kwargs}
        yield ("event", {"uid": f"e{k}", "descriptor": "d", "seq_num": k + 1, "time": 2.0 + k,
                         "data": data, "timestamps": {}})  # fmt: skip
    for uid in spans or ():
        yield ("stream_datum", {"uid": f"{uid}/0", "stream_resource": uid, "descriptor": "d",
                                "indices": {"start": 0, "stop": POINTS},
                                "seq_nums": {"start": 1, "stop": POINTS + 1}})  # fmt: skip
    yield ("stop", {"uid": "s", "run_start": "a", "time": 99.0, "exit_status": "success",
                    "num_events": {"primary": POINTS}})  # fmt: skip


def resource(folder, spec, **keywords):
    return ("resource", {"uid": "r", "run_start": "a", "spec": spec, "root": str(folder),
                         "resource_path": "xs.h5", "resource_kwargs": keywords})  # fmt: skip


def stream_resource(folder, uid, key, **parameters):
    return ("stream_resource", {"uid": uid, "run_start": "a", "data_key": key,
                                "mimetype": "application/x-hdf5",
                                "uri": f"file://localhost{folder}/xs.h5",
                                "parameters": parameters})  # fmt: skip


DATA = "/entry/instrument/detector/data"


def test_xspress3_frames_and_channels(hearing, fluorescence, folder):
    documents = run(KEYS, [BINS], [resource(folder, "XSP3")],
                    datum=lambda k, channel: {"frame": k, "channel": channel})  # fmt: skip
    only = hearing(fluorescence()).take(documents).only
    assert only.complete and only.flags == ()
    assert np.array_equal(only.columns["if_"], IN_LINE[:POINTS])


def test_a_channel_that_a_file_lacks_is_a_rejection(hearing, fluorescence, folder):
    documents = run(KEYS, [BINS], [resource(folder, "XSP3")],
                    datum=lambda k, channel: {"frame": k, "channel": channel + 1})  # fmt: skip
    rejected = reduce(hearing(fluorescence()).take(documents).only, fluorescence())
    assert isinstance(rejected, Rejected) and rejected.reason is Reason.UNREADABLE


@pytest.mark.parametrize(
    "shape", [[BINS], [3, BINS], [3, BINS, 0]], ids=["ophyd 1.0", "ophyd 1.5", "ophyd 1.3"]
)
@pytest.mark.parametrize("frames", [3, 3.0, np.int64(3)])
def test_several_frames_make_one_point(hearing, fluorescence, folder, shape, frames):
    documents = run(("ad",), shape, [resource(folder, "AD_HDF5", frame_per_point=frames)],
                    datum=lambda k, channel: {"point_number": k})  # fmt: skip
    only = hearing(fluorescence(("ad",))).take(documents).only
    of_frames = IN_LINE[:, 0].reshape(POINTS, 3)
    assert only.complete
    assert np.array_equal(only.columns["if_"].sum(axis=1), of_frames.sum(axis=1))


def test_the_frames_of_one_point_in_a_stream(hearing, fluorescence, folder):
    files = [stream_resource(folder, "r", "ad", dataset="/entry/data/data", multiplier=3)]
    only = hearing(fluorescence(("ad",))).take(run(("ad",), [BINS], files, spans="r")).only
    of_frames = IN_LINE[:, 0].reshape(POINTS, 3)
    assert np.array_equal(only.columns["if_"].sum(axis=1), of_frames.sum(axis=1))


@pytest.mark.parametrize(
    "cut", [":,{},:", "(..., {}, :)", "[:, {}]", [":", "{}", ":"], "(slice(None, None, None), {})"]
)
def test_a_slice_of_a_data_set(hearing, fluorescence, folder, cut):
    def of(channel):
        parts = [str(part).format(channel) for part in (cut if isinstance(cut, list) else [cut])]
        return parts if isinstance(cut, list) else parts[0]

    files = [
        stream_resource(folder, f"r{c}", key, dataset=DATA, slice=of(c))
        for c, key in enumerate(KEYS)
    ]
    only = hearing(fluorescence()).take(run(KEYS, [BINS], files, spans=("r0", "r1"))).only
    assert only.complete and np.array_equal(only.columns["if_"], IN_LINE[:POINTS])


def test_a_slice_along_the_readings(hearing, fluorescence, folder):
    files = [stream_resource(folder, "r", "xs", dataset=DATA, slice="2::2,1,:")]
    only = hearing(fluorescence(("xs",))).take(run(("xs",), [BINS], files, spans="r")).only
    assert np.array_equal(only.columns["if_"][:, 0], IN_LINE[2::2, 1][:POINTS])


@pytest.mark.parametrize("cut", ["0,:,:", ":,:,:,:", "::-1,0,:", ":,x,:", ":,5,:", "1:2:3:4"])
def test_a_slice_that_cannot_be_cut_is_a_rejection(hearing, fluorescence, folder, cut):
    files = [stream_resource(folder, "r", "xs", dataset=DATA, slice=cut)]
    only = hearing(fluorescence(("xs",))).take(run(("xs",), [BINS], files, spans="r")).only
    rejected = reduce(only, fluorescence(("xs",)))
    assert isinstance(rejected, Rejected) and rejected.reason is Reason.UNREADABLE


@pytest.mark.parametrize("named", ["data_key", "name"])
def test_the_older_form_of_a_stream_resource(hearing, fluorescence, folder, named):
    keywords = {"path": "/entry/data/data", "multiplier": 1, "name": "ad"}
    old = {"uid": "r", "run_start": "a", "spec": "AD_HDF5_SWMR_SLICE", "root": str(folder),
           "resource_path": "./xs.h5", "path_semantics": "posix",
           "resource_kwargs": keywords}  # fmt: skip
    if named == "data_key":
        old["data_key"] = "ad"
    documents = run(("ad",), [BINS], [("stream_resource", old)], spans="r")
    heard = hearing(fluorescence(("ad",))).take(documents)
    assert not heard.reasons and heard.only.complete
    assert np.array_equal(heard.only.columns["if_"][:, 0], IN_LINE[:POINTS, 0])


def test_a_stream_resource_that_names_no_file_is_malformed(hearing, fluorescence):
    bad = {"uid": "r", "run_start": "a", "data_key": "ad"}
    heard = hearing(fluorescence(("ad",))).take([("stream_resource", bad)])
    assert heard.reasons == ["malformed"]


def test_images_are_no_hdf5(hearing, fluorescence, folder):
    documents = run(("ad",), [1, BINS], [resource(folder, "AD_TIFF", frame_per_point=1)],
                    datum=lambda k, channel: {"point_number": k})  # fmt: skip
    rejected = reduce(hearing(fluorescence(("ad",))).take(documents).only, fluorescence(("ad",)))
    assert rejected.reason is Reason.UNREADABLE and "AD_TIFF" in rejected.detail


def test_spectra_summed_over_all_channels_are_flagged(hearing, fluorescence, folder):
    files = [stream_resource(folder, "r", "xs", dataset=DATA)]
    instrument = fluorescence(("xs",), roi=None)
    only = hearing(instrument).take(run(("xs",), [CHANNELS, BINS], files, spans="r")).only
    assert only.flags == ("no-region-of-interest",)
    assert np.array_equal(only.columns["if_"], COUNTS[:POINTS].sum(axis=-1))
    assert "no-region-of-interest" in reduce(only, instrument).flags


def test_many_elements_are_no_channels(hearing, compose):
    points = [{"mono": e, "i0": 1e6, "f": np.full(100, 3.0)} for e in ENERGIES]
    instrument = Instrument.model_validate(
        {"signal": "fluorescence", "roles": {"energy": "mono", "i0": "i0", "if_": ("f",)}}
    )
    only = hearing(instrument).take(compose("a", points)).only
    assert only.flags == () and only.columns["if_"].shape == (POINTS, 100)


def test_the_spectra_of_a_fly_scan(hearing, compose):
    sweep = {"mono": ENERGIES, "i0": np.full(POINTS, 1e6), "xs": COUNTS[:POINTS]}
    roles = {"energy": "mono", "i0": "i0", "if_": ("xs",), "roi": LINE}
    instrument = Instrument.model_validate({"signal": "fluorescence", "roles": roles})
    only = hearing(instrument).take(compose("a", [sweep])).only
    assert only.flags == () and np.array_equal(only.columns["if_"], IN_LINE[:POINTS])


@pytest.mark.parametrize("roi", [(5, 5), (-1, 4), (9, 3)])
def test_a_region_without_channels_is_an_error_of_the_profile(roi):
    with pytest.raises(ValueError, match="expected two channels"):
        Instrument.model_validate({"roles": {"roi": roi}})
