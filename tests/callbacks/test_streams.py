from nearedge.callbacks.documents import Descriptor, Event, StreamDatum, StreamResource
from nearedge.callbacks.instrument import Instrument, Roles
from nearedge.callbacks.parts import Part
from nearedge.callbacks.scalars import Scalars
from nearedge.callbacks.streams import MAX_ELSEWHERE, Streams

INSTRUMENT = Instrument(roles=Roles(energy="e", i0="i0", it="it"))
NUMBER = {"dtype": "number", "shape": []}


def streams(instrument=INSTRUMENT):
    return Streams(instrument, Scalars("a", ()))


def descriptor(name="primary", uid="d", **data_keys):
    keys = data_keys or dict.fromkeys(("e", "i0", "it"), NUMBER)
    return Descriptor(uid=uid, run_start="a", name=name, data_keys=keys)


def event(seq, descriptor="d"):
    data = {"e": 10.0 + seq, "i0": 2.0, "it": 1.0}
    return Event(descriptor=descriptor, seq_num=seq, time=float(seq), data=data)


def test_a_document_says_which_readings_it_belongs_to():
    found = streams()
    assert found.take(descriptor()) == (None, ())
    ((stream, seqs),) = found.take(event(3)).readings
    assert (stream.name, list(seqs)) == ("primary", [3])
    assert found.take(event(1, descriptor="unknown")).refused == "malformed"
    assert found.take(descriptor()).refused == "duplicate"


def test_readings_are_finished_when_all_that_belongs_to_them_has_come():
    external = {"dtype": "array", "shape": [], "external": "STREAM:"}
    found = streams()
    found.take(descriptor(e=NUMBER, i0=NUMBER, it=external))
    found.take(event(2))
    lacks_its_file = Event(descriptor="d", seq_num=1, time=1.0, data={"e": 11.0, "i0": 2.0})
    found.take(lacks_its_file)
    assert found.finished("primary", [1]) is None
    assert found.finished("primary", [3]) is None
    (two,) = found.finished("primary", [2])
    assert two.values["e"] == 12.0


def test_other_streams_are_read_for_the_names_of_their_data_keys_alone():
    found = streams()
    found.take(descriptor())
    many = {f"k{n}": NUMBER for n in range(2 * MAX_ELSEWHERE)}
    found.take(descriptor(name="monitor", uid="m", **many))
    assert found.take(event(1, descriptor="m")) == (None, ())
    assert found.keys()[:3] == ("e", "i0", "it")
    assert len(found.keys()) == 3 + MAX_ELSEWHERE and "k0 (stream monitor)" in found.keys()


def test_what_never_came_is_said_in_sentences():
    external = {"dtype": "array", "shape": [4], "external": "STREAM:"}
    found = streams()
    found.take(descriptor(e=NUMBER, i0=NUMBER, it=external))
    for seq in (1, 2, 4):
        data = {"e": 10.0 + seq, "i0": 2.0}
        found.take(Event(descriptor="d", seq_num=seq, time=1.0, data=data))
    found.take(
        StreamResource(
            uid="r", data_key="it", run_start="a", uri="file:///x.h5", mimetype="application/x-hdf5"
        )
    )
    found.take(
        StreamDatum(
            stream_resource="r",
            descriptor="d",
            indices={"start": 0, "stop": 2},
            seq_nums={"start": 1, "stop": 3},
        )
    )
    assert list(found.gaps({"primary": 6, "unread": 9})) == [
        "stream primary: 3 events never came (seq_num 3, 5, 6)",
        "stream primary: no place of it came (seq_num 4)",
    ]
    assert found.unlocated() == {("primary", 4)}
    assert list(streams().gaps({"primary": 2})) == [
        "stream primary: its descriptor and 2 events never came"
    ]


def test_readings_of_a_finished_spectrum_are_let_go():
    found = streams()
    found.take(descriptor())
    for seq in (1, 2, 3):
        found.take(event(seq))
    part = Part(name="0", seqs={"primary": [1, 2]})
    points = found.points([part])["0", "primary"]
    assert [float(point.values["e"]) for point in points] == [11.0, 12.0]
    found.let_go(part)
    assert found.waiting() == {"primary": [3]}
