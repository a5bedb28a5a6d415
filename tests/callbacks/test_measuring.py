import numpy as np

from nearedge.callbacks.columns import Point
from nearedge.callbacks.documents import Descriptor
from nearedge.callbacks.instrument import Instrument, Roles
from nearedge.callbacks.measurement import Run
from nearedge.callbacks.measuring import Measuring
from nearedge.callbacks.parts import Part, Piece
from nearedge.callbacks.recognise import Darks, Kind
from nearedge.callbacks.scalars import Scalars
from nearedge.callbacks.streams import Streams

INSTRUMENT = Instrument(roles=Roles(energy="e", i0="i0", it="it"))
RUN = Run(uid="a", scan_id=1, time=100.0, start={"uid": "a"})


def measuring(darks=None):
    scalars = Scalars("a", ())
    streams = Streams(INSTRUMENT, scalars)
    keys = {key: {"dtype": "number", "shape": []} for key in ("e", "i0", "it")}
    streams.take(Descriptor(uid="d", run_start="a", data_keys=keys))
    return Measuring(
        instrument=INSTRUMENT, streams=streams, scalars=scalars, darks=darks or Darks()
    )


def piece(*readings, problems=()):
    points = [
        Point(
            values={k: np.asarray(v) for k, v in zip(("e", "i0", "it"), reading, strict=True)},
            time=101.0 + n,
            problems=problems,
        )
        for n, reading in enumerate(readings)
    ]
    return Piece(part=Part(name="0", seqs={"primary": range(1, len(points) + 1)}), points=points)


def test_a_measurement_has_the_columns_and_the_time_of_its_last_reading():
    found = measuring().measure(piece((1.0, 4.0, 2.0), (2.0, 5.0, 3.0)), RUN, Kind.SAMPLE)
    assert found.columns["i0"].tolist() == [4.0, 5.0]
    assert (found.stream, found.time, found.complete, found.flags) == ("primary", 102.0, True, ())
    assert found.keys == ("e", "i0", "it")


def test_what_could_not_be_read_is_flagged_and_said():
    found = measuring().measure(
        piece((1.0, 4.0, 2.0), problems=("it: no such file",)), RUN, Kind.SAMPLE
    )
    assert found.flags == ("partial", "unreadable") and not found.complete
    assert found.problems == ("it: no such file",)


def test_a_dark_run_leaves_the_means_that_are_numbers():
    darks = Darks()
    making = measuring(darks)
    dark = piece((1.0, 4.0, np.nan), (1.0, 6.0, 3.0))
    making.keep_dark(making.measure(dark, RUN, Kind.DARK), dark.points, ended=150.0)
    left = darks.get("a")
    assert left.ended == 150.0 and {k: float(v) for k, v in left.means.items()} == {"i0": 5.0}


def test_a_sample_gets_the_dark_before_it_and_a_dark_gets_none():
    darks = Darks()
    making = measuring(darks)
    dark = piece((1.0, 4.0, 1.0))
    making.keep_dark(making.measure(dark, RUN, Kind.DARK), dark.points, ended=50.0)
    sample = making.measure(dark, RUN, Kind.SAMPLE)
    assert sample.dark_runs == ("a",) and float(sample.dark["it"]) == 1.0
    assert making.measure(dark, RUN, Kind.DARK).dark_runs == ()
