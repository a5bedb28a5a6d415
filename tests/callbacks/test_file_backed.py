"""Spectra in HDF5 files through stream_resource and stream_datum, from several sources."""

import h5py
import numpy as np
import pytest

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.reduce import reduce
from nearedge.models import Reason, Rejected

COUNT, SIZE = 4, 32
FRAMES = np.random.default_rng(3).poisson(1000, (COUNT, SIZE)).astype(float)
HDF5 = "application/x-hdf5"


@pytest.fixture
def folder(tmp_path):
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        file["spectrum"] = FRAMES
    return tmp_path


@pytest.fixture
def eels(folder):
    def instrument(when="stop", **changes):
        return Instrument.model_validate(
            {
                "technique": "eels",
                "signal": "spectrum",
                "absorber": "O",
                "finish": {"when": when, "n": 2},
                "roles": {"spectrum": "cam-spectrum", "dispersion": 0.5, "offset": 500},
                "readable_roots": (str(folder),),
                **changes,
            }
        )

    return instrument


def start(uid="a"):
    return ("start", {"uid": uid, "time": 1.0, "num_points": COUNT})


def descriptor(shape=(1, SIZE)):
    key = {"source": "s", "dtype": "number", "shape": list(shape), "external": "STREAM:"}
    return ("descriptor", {"uid": "d", "run_start": "a", "name": "primary", "time": 1.5,
                           "data_keys": {"cam-spectrum": key}})  # fmt: skip


def resource(folder, uid="r", path="frames.h5", **changes):
    return ("stream_resource", {"uid": uid, "run_start": "a", "data_key": "cam-spectrum",
                                "mimetype": HDF5, "uri": f"file://localhost{folder}/{path}",
                                "parameters": {"dataset": "/spectrum"}, **changes})  # fmt: skip


def datum(first, last, uid="r"):
    return ("stream_datum", {"uid": f"{uid}/{first}", "stream_resource": uid, "descriptor": "d",
                             "indices": {"start": first, "stop": last},
                             "seq_nums": {"start": first + 1, "stop": last + 1}})  # fmt: skip


def event(number, **changes):
    return ("event", {"uid": f"e{number}", "descriptor": "d", "seq_num": number + 1, "data": {},
                      "time": 2.0 + number, "timestamps": {}, "filled": {}, **changes})  # fmt: skip


def stop(count=COUNT, exit_status="success"):
    return ("stop", {"uid": "s", "run_start": "a", "time": 9.0, "exit_status": exit_status,
                     "num_events": {"primary": count}})  # fmt: skip


def live(folder):
    """Frame by frame, each datum before its event, as ophyd-async does."""
    steps = [doc for k in range(COUNT) for doc in (datum(k, k + 1), event(k))]
    return [start(), descriptor(), resource(folder), *steps, stop()]


def replayed(folder):
    """All events first, then one resource and one datum, as Tiled's exporter does."""
    events = [event(k, uid=f"event-d-{k + 1}") for k in range(COUNT)]
    for _, doc in events:
        del doc["filled"]
    files = [resource(folder, uid="sr-d-cam"), datum(0, COUNT, uid="sr-d-cam")]
    return [start(), descriptor(), *events, *files, stop()]


def contents(heard):
    return [
        (m.spectrum, m.complete, m.time, m.flags, m.keys, m.columns["spectrum"].tobytes())
        for m in heard.finals
    ]


@pytest.mark.parametrize("when", ["stop", "event", "events", "stream"])
def test_replay_gives_what_live_gave(hearing, eels, folder, when):
    first = hearing(eels(when)).take(live(folder))
    again = hearing(eels(when)).take(replayed(folder))
    assert contents(first) == contents(again)
    assert len(first.finals) == {"event": COUNT, "events": COUNT // 2}.get(when, 1)
    assert all(m.complete for m in first.finals) and not first.gaps and not first.discards


def test_frames_are_taken_while_the_run_goes_on(hearing, eels, folder):
    heard = hearing(eels("event")).take(live(folder)[:-1])
    assert [m.spectrum for m in heard.finals] == ["1", "2", "3", "4"]
    assert np.array_equal(heard.finals[2].columns["spectrum"], FRAMES[2])


def test_a_fly_scan_has_no_events(hearing, eels, folder):
    documents = [start(), descriptor(), resource(folder), datum(0, COUNT), stop()]
    heard = hearing(eels("event")).take(documents)
    assert [m.time for m in heard.finals] == [9.0] * COUNT
    assert np.array_equal(heard.finals[3].columns["spectrum"], FRAMES[3])
    assert not heard.gaps and all(m.complete for m in heard.finals)


def test_a_datum_may_come_before_its_resource(hearing, eels, folder):
    documents = live(folder)
    documents[2], documents[3] = documents[3], documents[2]
    assert contents(hearing(eels()).take(documents)) == contents(hearing(eels()).take(live(folder)))


def test_the_shape_may_lack_the_frame_axis(hearing, eels, folder):
    documents = live(folder)
    documents[1] = descriptor(shape=(SIZE,))
    assert contents(hearing(eels()).take(documents)) == contents(hearing(eels()).take(live(folder)))


def test_a_lost_datum_is_a_gap(hearing, eels, folder):
    documents = [d for d in live(folder) if d != datum(2, 3)]
    heard = hearing(eels("event")).take(documents)
    assert "no place of cam-spectrum came (seq_num 3)" in heard.gaps[0].detail
    last = heard.finals[-1]
    assert (last.spectrum, last.complete, last.flags) == ("3", False, ("gap", "partial"))


def test_a_lost_resource_is_a_gap(hearing, eels, folder):
    heard = hearing(eels()).take([d for d in live(folder) if d[0] != "stream_resource"])
    assert "cam-spectrum" in heard.gaps[0].detail
    heard.assembler.close()
    assert heard.reasons == ["orphan"] * COUNT


@pytest.mark.parametrize("when", ["stop", "event"])
def test_a_file_outside_the_folders_is_a_rejection(hearing, eels, folder, when):
    instrument = eels(when, readable_roots=("/elsewhere",))
    heard = hearing(instrument).take(live(folder))
    assert heard.finals and all(m.flags == ("partial", "unreadable") for m in heard.finals)
    rejected = reduce(heard.finals[0], instrument)
    assert isinstance(rejected, Rejected) and rejected.reason is Reason.UNREADABLE
    assert "readable_roots" in rejected.detail


def test_a_file_written_late_is_read_when_the_run_ends(hearing, eels, folder):
    heard = hearing(eels("event"))
    (folder / "frames.h5").rename(folder / "later.h5")
    heard.take(live(folder)[:-1])
    assert not heard.finals
    (folder / "later.h5").rename(folder / "frames.h5")
    heard.take([stop()])
    assert [m.spectrum for m in heard.finals] == ["1", "2", "3", "4"]
    assert all(m.complete for m in heard.finals)


def test_an_absurd_span_is_bounded(hearing, eels, folder):
    documents = [start(), descriptor(), resource(folder), datum(0, 10**15), stop(0)]
    heard = hearing(eels()).take(documents)
    assert heard.reasons == ["too-many-readings"]
    assert "truncated" in heard.only.flags


def test_the_older_form_of_file_documents(hearing, eels, folder):
    key = {"source": "s", "dtype": "array", "shape": [1, SIZE], "external": "FILESTORE:"}
    files = ("resource", {"uid": "r", "run_start": "a", "spec": "AD_HDF5", "root": str(folder),
                          "resource_path": "frames.h5",
                          "resource_kwargs": {"path": "/spectrum"}})  # fmt: skip
    steps = [
        doc
        for k in range(COUNT)
        for doc in (
            ("datum", {"resource": "r", "datum_id": f"r/{k}", "datum_kwargs": {"point_number": k}}),
            event(k, data={"cam-spectrum": f"r/{k}"}, filled={"cam-spectrum": False}),
        )
    ]
    described = descriptor()
    described[1]["data_keys"]["cam-spectrum"] = key
    first = hearing(eels()).take([start(), described, files, *steps, stop()])
    assert contents(first) == contents(hearing(eels()).take(live(folder)))
    assert not first.gaps
