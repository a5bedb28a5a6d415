"""The pixels of runs that are maps, as they come."""

import itertools

import h5py
import numpy as np
import pytest

from nearedge.callbacks.assemble import Assembler
from nearedge.callbacks.block import Block, MapEnd
from nearedge.callbacks.blocks import MOST
from nearedge.callbacks.instrument import Instrument

ENERGY = 1800.0 + np.arange(20.0)


def instrument(**more):
    roles = more.pop("roles", {"energy": "energy", "spectrum": "camera"})
    told = {"absorber": "Si", "technique": "eels", "signal": "spectrum", "composition": "SiO2"}
    finish = {"finish": {"when": "pixel"}}
    return Instrument.model_validate({**told, **finish, "roles": roles, **more})


def start_of(uid="run", **more):
    return "start", {"uid": uid, "time": 1.0, "scan_id": 7, **more}


def descriptor_of(uid="run", **keys):
    told = {key: {"source": "", **about} for key, about in keys.items()}
    return (
        "descriptor",
        {
            **{"uid": f"{uid}-d", "run_start": uid, "name": "primary", "time": 1.0},
            **{"data_keys": told, "configuration": {}, "hints": {}},
        },
    )


def event_of(seq, data, uid="run"):
    return (
        "event",
        {
            **{"uid": f"{uid}-{seq}", "descriptor": f"{uid}-d", "seq_num": seq},
            **{"time": 1.0 + 0.05 * seq, "data": data, "timestamps": dict.fromkeys(data, 0.0)},
        },
    )


def stop_of(uid="run", status="success", **events):
    return "stop", {"run_start": uid, "time": 99.0, "exit_status": status, "num_events": events}


ARRAY = {"dtype": "array", "shape": [20]}
NUMBER = {"dtype": "number", "shape": []}


class Taken:
    """An assembler, and what it has emitted."""

    def __init__(self, told: Instrument) -> None:
        self.now, self.ended, self.single = 0.0, [], []
        self.blocks: list[Block] = []
        self.ends: list[MapEnd] = []
        self.assembler = Assembler(
            told,
            emit=self.single.append,
            emit_block=self._take,
            on_end=lambda uid, whole: self.ended.append((uid, whole)),
            clock=lambda: self.now,
        )

    def _take(self, what):
        (self.ends if isinstance(what, MapEnd) else self.blocks).append(what)

    def __call__(self, *documents):
        for name, doc in documents:
            self.assembler(name, doc)

    def image(self, shape):
        """Put all pixels where they lie."""
        data = np.full((int(np.prod(shape)), 20), np.nan)
        for block in self.blocks:
            data[block.places] = block.spectra.mu
        return data.reshape(*shape, 20)


def grid(ny, nx):
    plan = {
        "plan_name": "grid_scan",
        "motors": ["y", "x"],
        "shape": [ny, nx],
        "extents": [[0.0, ny - 1.0], [10.0, 10.0 + nx - 1]],
        "snaking": [False, True],
        "hints": {"dimensions": [[["y"], "primary"], [["x"], "primary"]]},
    }
    rows = [[(y, x) for x in (range(nx)[::-1] if y % 2 else range(nx))] for y in range(ny)]
    return plan, list(itertools.chain.from_iterable(rows))


def value(y, x):
    return 100.0 * y + x + np.arange(20.0)


def raster(visits):
    return [
        event_of(k, {"energy": ENERGY, "camera": value(y, x), "y": y + 0.01, "x": 10.0 + x})
        for k, (y, x) in enumerate(visits, start=1)
    ]


RASTER = descriptor_of(energy=ARRAY, camera=ARRAY, y={**NUMBER, "units": "mm"}, x=NUMBER)


def test_a_raster_comes_in_blocks_that_lie_where_its_plan_was():
    plan, visits = grid(4, 3)
    taken, events = Taken(instrument()), raster(visits)
    taken(start_of(**plan), RASTER, *events[:5])
    assert taken.blocks == []
    taken.now = 1.5
    taken(events[5])
    assert [block.name for block in taken.blocks] == ["0-5"]
    taken(*events[6:], stop_of(primary=12))
    assert [block.name for block in taken.blocks] == ["0-5", "6-11"]
    image = taken.image((4, 3))
    for y, x in visits:
        assert image[y, x].tolist() == value(y, x).tolist()
    (end,) = taken.ends
    assert (end.pixels, end.layout.shape, end.flags) == (12, (4, 3), ())
    assert [(a.name, a.unit) for a in end.layout.axes] == [("y", "mm"), ("x", "")]
    assert end.layout.axes[0].positions.tolist() == [0.01, 1.01, 2.01, 3.01]
    assert taken.ended == [("run", True)]
    assert taken.single == []
    assert taken.blocks[0].spectra.formula == "SiO2"


def test_a_scan_along_a_line_tells_how_many_points_there_are():
    taken = Taken(instrument())
    plan = {"motors": ["y"], "num_points": 4, "hints": {"dimensions": [[["y"], "primary"]]}}
    events = raster([(y, 0) for y in range(4)])
    taken(start_of(**plan), RASTER, *events[:3], stop_of(status="abort", primary=3))
    (end,) = taken.ends
    assert (end.layout.shape, end.layout.grows, end.pixels) == ((4,), False, 4)
    assert end.layout.axes[0].positions[:3].tolist() == [0.01, 1.01, 2.01]


def test_time_alone_sends_pixels_on():
    taken = Taken(instrument())
    plan, visits = grid(2, 2)
    taken(start_of(**plan), RASTER, *raster(visits)[:2])
    taken.now = 1.0
    taken.assembler.flush()
    assert [block.name for block in taken.blocks] == ["0-1"]
    taken.now = 5.0
    taken.assembler.flush()
    assert len(taken.blocks) == 1


def test_a_map_of_which_every_pixel_has_gone_on_has_an_end():
    sweeps = instrument(
        technique="xanes", signal="mu", roles={"energy": "energy", "mu": "absorption"}
    )
    taken = Taken(sweeps)
    count = {"plan_name": "count", "hints": {"dimensions": [[["time"], "primary"]]}}
    taken(start_of(**count), descriptor_of(energy=ARRAY, absorption=ARRAY))
    taken(*(event_of(k, {"energy": ENERGY, "absorption": value(0, k)}) for k in (1, 2)))
    taken.now = 1.5
    taken.assembler.flush()
    assert [block.name for block in taken.blocks] == ["0-1"]
    taken(stop_of(primary=2))
    (end,) = taken.ends
    assert end.layout.shape == (2,)
    assert taken.ended == [("run", True)]


def test_a_stopped_raster_says_how_many_pixels_there_should_be():
    taken = Taken(instrument())
    plan, visits = grid(2, 3)
    taken(start_of(**plan), RASTER, *raster(visits)[:4], stop_of(status="abort", primary=4))
    assert [len(block) for block in taken.blocks] == [4]
    assert (taken.ends[0].pixels, taken.ends[0].flags) == (6, ("aborted",))


def test_sweeps_grow_over_time_and_are_turned_round():
    taken = Taken(instrument())
    up = {"energy": ENERGY, "camera": value(0, 0)}
    down = {"energy": ENERGY[::-1], "camera": value(0, 1)[::-1]}
    events = [event_of(k, up if k % 2 else down) for k in range(1, 5)]
    taken(start_of(), descriptor_of(energy=ARRAY, camera=ARRAY), *events, stop_of(primary=4))
    (block,) = taken.blocks
    assert block.layout.grows
    assert block.spectra.mu[1].tolist() == value(0, 1).tolist()
    (time,) = block.layout.axes
    assert (time.name, time.unit) == ("time", "s")
    assert time.positions == pytest.approx([0.05, 0.1, 0.15, 0.2])
    assert taken.ends[0].layout.shape == (4,)


def test_sweeps_with_energies_of_their_own_make_blocks_of_their_own():
    taken = Taken(instrument())
    events = [
        event_of(1, {"energy": ENERGY, "camera": value(0, 0)}),
        event_of(2, {"energy": ENERGY + 3.0, "camera": value(0, 1)}),
        event_of(3, {"energy": ENERGY, "camera": value(0, 2)}),
    ]
    taken(start_of(), descriptor_of(energy=ARRAY, camera=ARRAY), *events, stop_of(primary=3))
    assert [block.name for block in taken.blocks] == ["0-0", "1-1", "2-2"]
    assert taken.blocks[1].spectra.energy[0] == 1803.0


def test_the_frame_of_a_single_event_is_the_map_in_several_blocks():
    cube = np.arange(60 * 50 * 20.0).reshape(60, 50, 20)
    about = {"dtype": "array", "shape": [60, 50, 20], "dims": ["y", "x", "energy"]}
    taken = Taken(instrument())
    taken(
        start_of(num_points=1),
        descriptor_of(energy=ARRAY, camera=about),
        event_of(1, {"energy": ENERGY, "camera": cube}),
        stop_of(primary=1),
    )
    assert [len(block) for block in taken.blocks] == [MOST, 3000 - MOST]
    assert taken.ends[0].layout.shape == (60, 50)
    assert [axis.name for axis in taken.ends[0].layout.axes] == ["y", "x"]
    assert taken.image((60, 50)).tolist() == cube.tolist()


def test_images_at_one_energy_each_are_answered_at_the_end():
    images = np.arange(20 * 3 * 4.0).reshape(20, 3, 4)
    taken = Taken(instrument())
    events = [
        event_of(k + 1, {"energy": ENERGY[k], "camera": images[k]}) for k in range(len(images))
    ]
    about = {"dtype": "array", "shape": [3, 4]}
    taken(start_of(), descriptor_of(energy=NUMBER, camera=about), *events)
    taken.now = 9.0
    taken.assembler.flush()
    assert taken.blocks == []
    taken(stop_of(primary=20))
    assert taken.ends[0].layout.shape == (3, 4)
    assert taken.image((3, 4))[1, 2].tolist() == images[:, 1, 2].tolist()


def test_frames_in_a_file_go_on_as_they_are_written(tmp_path):
    path = tmp_path / "frames.h5"
    rows = np.arange(4 * 3 * 20.0).reshape(4, 3, 20)
    with h5py.File(path, "w") as file:
        file["frames"] = rows[:2]
    told = instrument(
        roles={"spectrum": "camera", "offset": 1800.0, "dispersion": 1.0},
        readable_roots=[str(tmp_path)],
    )
    taken = Taken(told)
    about = {"dtype": "array", "shape": [3, 20], "external": "STREAM:"}
    taken(
        start_of(),
        descriptor_of(camera=about),
        (
            "stream_resource",
            {
                **{"uid": "r", "run_start": "run", "data_key": "camera"},
                **{"mimetype": "application/x-hdf5", "uri": f"file://localhost{path}"},
                "parameters": {"dataset": "/frames"},
            },
        ),
        datum(0, 2),
    )
    taken.now = 2.0
    taken.assembler.flush()
    assert [block.name for block in taken.blocks] == ["0-5"]
    taken(datum(2, 4))  # announced before it is written
    taken.now = 4.0
    taken.assembler.flush()
    assert len(taken.blocks) == 1
    with h5py.File(path, "w") as file:
        file["frames"] = rows
    taken.now = 6.0
    taken.assembler.flush()
    taken(stop_of(primary=4))
    assert [block.name for block in taken.blocks] == ["0-5", "6-11"]
    assert taken.image((4, 3)).tolist() == rows.tolist()


def test_frames_that_cannot_be_read_are_refused_at_the_end(tmp_path):
    told = instrument(
        roles={"spectrum": "camera", "offset": 1800.0, "dispersion": 1.0},
        readable_roots=[str(tmp_path)],
    )
    taken = Taken(told)
    path = tmp_path / "frames.h5"
    with h5py.File(path, "w") as file:
        file["frames"] = np.ones((1, 3, 20))
    taken(
        start_of(),
        descriptor_of(camera={"dtype": "array", "shape": [3, 20], "external": "STREAM:"}),
        (
            "stream_resource",
            {
                **{"uid": "r", "run_start": "run", "data_key": "camera"},
                **{"mimetype": "application/x-hdf5", "uri": f"file://localhost{path}"},
                "parameters": {"dataset": "/frames"},
            },
        ),
        datum(0, 1),
    )
    taken.now = 2.0
    taken.assembler.flush()
    taken(datum(1, 2), stop_of(primary=2))
    first, second = taken.blocks
    assert first.refused is None
    assert second.refused.reason == "unreadable"
    assert (second.name, second.spectra) == ("3-5", None)


def datum(first, last):
    return (
        "stream_datum",
        {
            **{"uid": f"r/{first}", "stream_resource": "r", "descriptor": "run-d"},
            "indices": {"start": first, "stop": last},
            "seq_nums": {"start": first + 1, "stop": last + 1},
        },
    )


def test_a_dark_is_subtracted():
    taken = Taken(instrument())
    keys = {"energy": ARRAY, "camera": ARRAY}
    dark = {"energy": ENERGY, "camera": np.full(20, 5.0)}
    taken(start_of("dark", dark_frame=True), descriptor_of("dark", **keys))
    taken(event_of(1, dark, uid="dark"))
    taken(("stop", {"run_start": "dark", "time": 0.5, "exit_status": "success"}))
    taken(start_of(), descriptor_of(**keys))
    taken(event_of(1, {"energy": ENERGY, "camera": value(0, 1)}), stop_of(primary=1))
    (block,) = taken.blocks
    assert block.spectra.mu[0].tolist() == (value(0, 1) - 5.0).tolist()
    assert block.spectra.flags == ("dark-subtracted",)


def test_a_run_without_arrays_is_one_spectrum():
    """A step scan under a profile of maps goes the way of single spectra."""
    taken = Taken(instrument())
    energy = np.linspace(1800.0, 1900.0, 60)
    events = [event_of(k, {"energy": e, "camera": 1.0}) for k, e in enumerate(energy, start=1)]
    taken(start_of(), descriptor_of(energy=NUMBER, camera=NUMBER), *events, stop_of(primary=60))
    assert taken.blocks == []
    (single,) = taken.single
    assert len(single.columns["energy"]) == 60


def test_a_part_of_sweeps_knows_when_they_were():
    taken = Taken(instrument())
    row = np.stack([value(0, 0), value(0, 1)])
    events = [event_of(k, {"energy": ENERGY, "camera": row}) for k in range(1, 5)]
    keys = {"energy": ARRAY, "camera": {"dtype": "array", "shape": [2, 20]}}
    taken(start_of(), descriptor_of(**keys), *events, stop_of(primary=4))
    (block,) = taken.blocks
    part = block.some(3, 5)
    assert part.layout.axes[0].positions == pytest.approx([0.1, 0.15])
    assert part.layout.shape == (2, 2)
    assert block.some(4, 7).layout.axes[0].positions == pytest.approx([0.15, 0.2])


def test_a_block_is_cut_by_the_numbers_of_its_pixels():
    taken = Taken(instrument())
    plan, visits = grid(2, 3)
    taken(start_of(**plan), RASTER, *raster(visits), stop_of(primary=6))
    (block,) = taken.blocks
    part = block.some(3, 4)
    assert (part.name, part.places.tolist()) == ("3-4", [5, 4])
    assert part.spectra.mu.tolist() == block.spectra.mu[3:5].tolist()
