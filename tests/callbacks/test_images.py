"""Maps out of the documents of runs."""

import itertools

import h5py
import numpy as np
import pytest

from nearedge.callbacks.images import ImageError, image_of
from nearedge.callbacks.instrument import Instrument

ENERGY = 1800.0 + np.arange(20.0)


def instrument(**roles):
    told = {"absorber": "Si", "technique": "eels", "signal": "spectrum", "composition": "SiO2"}
    return Instrument.model_validate({**told, "roles": {"spectrum": "camera", **roles}})


def run(events, *, uid="run", start=None, keys=None, stop="success", configuration=None):
    """Documents of a run whose events hold numbers and arrays, each with its position."""
    first = events[0] if events else {}
    data_keys = {
        key: {"source": "", "dtype": "array", "shape": list(np.shape(value))}
        if np.ndim(value)
        else {"source": "", "dtype": "number", "shape": []}
        for key, value in first.items()
    }
    for key, more in (keys or {}).items():
        data_keys[key].update(more)
    yield "start", {"uid": uid, "time": 1.0, "scan_id": 7, **(start or {})}
    yield (
        "descriptor",
        {
            **{"uid": f"{uid}-d", "run_start": uid, "name": "primary", "time": 1.0},
            **{"data_keys": data_keys, "configuration": configuration or {}, "hints": {}},
        },
    )
    for seq, data in enumerate(events, start=1):
        yield (
            "event",
            {
                **{"uid": f"{uid}-{seq}", "descriptor": f"{uid}-d", "seq_num": seq},
                **{"time": 1.0 + seq, "data": data, "timestamps": dict.fromkeys(data, 0.0)},
            },
        )
    if stop:
        yield (
            "stop",
            {"uid": f"{uid}-s", "run_start": uid, "time": 99.0, "exit_status": stop},
        )


def grid(ny, nx, *, snake=False):
    """A plan over x and y, and the positions in the order of their visits."""
    plan = {
        "plan_name": "grid_scan",
        "motors": ["y", "x"],
        "shape": [ny, nx],
        "hints": {"dimensions": [[["y"], "primary"], [["x"], "primary"]]},
    }
    rows = [
        [(y, x) for x in (range(nx)[::-1] if snake and y % 2 else range(nx))] for y in range(ny)
    ]
    return plan, list(itertools.chain.from_iterable(rows))


def value(y, x):
    return 100 * y + x + np.arange(20.0)


@pytest.mark.parametrize("snake", [False, True])
def test_a_raster_lies_where_its_motors_were(snake):
    plan, visits = grid(3, 4, snake=snake)
    events = [
        {"energy": ENERGY, "camera": value(y, x), "y": 0.5 * y + 0.001 * x, "x": 2.0 * x}
        for y, x in visits
    ]
    units = {"x": {"units": "mm"}, "y": {"units": "mm"}}
    found = image_of(run(events, start=plan, keys=units), instrument(energy="energy"))
    assert found.shape == (3, 4)
    assert [(axis.name, axis.unit) for axis in found.axes] == [("y", "mm"), ("x", "mm")]
    assert found.axes[1].positions.tolist() == [0.0, 2.0, 4.0, 6.0]
    cube = found.spectra.mu.reshape(3, 4, 20)
    for y, x in visits:
        assert cube[y, x].tolist() == value(y, x).tolist()
    assert found.spectra.formula == "SiO2"
    assert found.spectra.flags == ()


def test_a_raster_that_was_stopped_lacks_pixels():
    plan, visits = grid(3, 4)
    events = [{"energy": ENERGY, "camera": value(y, x), "y": y, "x": x} for y, x in visits[:9]]
    found = image_of(run(events, start=plan, stop="abort"), instrument(energy="energy"))
    assert found.shape == (3, 4)
    assert np.isfinite(found.spectra.mu).all(axis=1).tolist() == [True] * 9 + [False] * 3
    assert found.spectra.flags == ("aborted",)


def test_the_arrays_of_one_event_are_a_map():
    cube = np.arange(2 * 3 * 20.0).reshape(2, 3, 20)
    keys = {"camera": {"dims": ["y", "x", "energy_loss"]}}
    found = image_of(run([{"camera": cube}], keys=keys), instrument(offset=1800.0, dispersion=0.5))
    assert found.shape == (2, 3)
    assert [axis.name for axis in found.axes] == ["y", "x"]
    assert found.spectra.energy.tolist() == (1800.0 + 0.5 * np.arange(20)).tolist()
    assert found.spectra.mu[4].tolist() == cube[1, 1].tolist()


def test_arrays_of_several_events_have_an_axis_more():
    cube = np.arange(3 * 20.0).reshape(3, 20)
    events = [{"energy": ENERGY, "camera": cube + 1000 * k} for k in range(4)]
    found = image_of(run(events), instrument(energy="energy"))
    assert found.shape == (4, 3)
    assert (found.axes[0].name, found.axes[0].unit) == ("time", "s")
    assert found.axes[0].positions.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert found.spectra.mu[3 * 2 + 1].tolist() == (cube[1] + 2000).tolist()


def test_images_at_one_energy_each_are_a_stack():
    images = np.arange(20 * 2 * 3.0).reshape(20, 2, 3)
    events = [{"mono": e / 1e3, "camera": one} for e, one in zip(ENERGY, images, strict=True)]
    told = instrument(energy="mono").model_copy(update={"units": "keV"})
    found = image_of(run(events), told)
    assert found.shape == (2, 3)
    assert found.spectra.energy == pytest.approx(ENERGY)
    assert found.spectra.mu[5].tolist() == images[:, 1, 2].tolist()


def test_transmission_is_the_ratio_of_two_images():
    events = [
        {"mono": e, "i0": np.full((2, 2), 100.0), "it": np.array([[50.0, 25.0], [10.0, 0.0]])}
        for e in ENERGY
    ]
    told = Instrument.model_validate({"roles": {"energy": "mono", "i0": "i0", "it": "it"}})
    found = image_of(run(events), told)
    assert found.spectra.mu[0] == pytest.approx(np.log(2.0))
    assert np.isnan(found.spectra.mu[3]).all()


def test_sweeps_up_and_down_lie_on_one_axis():
    events = [
        {"energy": ENERGY[::way], "camera": (value(0, 0) + k)[::way]}
        for k, way in enumerate([1, -1, 1, -1])
    ]
    found = image_of(run(events), instrument(energy="energy"))
    assert found.shape == (4,)
    for k in range(4):
        assert found.spectra.mu[k].tolist() == (value(0, 0) + k).tolist()


def test_frames_in_a_file_are_read(tmp_path):
    cube = np.arange(6 * 20.0).reshape(6, 20)
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        file["data"] = cube
    documents = list(run([{"x": float(k)} for k in range(6)]))
    documents[1][1]["data_keys"]["camera"] = {
        **{"source": "", "dtype": "array", "shape": [1, 20], "external": "STREAM:"},
    }
    files = [
        (
            "stream_resource",
            {
                **{"uid": "r", "run_start": "run", "data_key": "camera"},
                **{
                    "uri": f"file://localhost{tmp_path}/frames.h5",
                    "mimetype": "application/x-hdf5",
                },
                "parameters": {"dataset": "/data", "chunk_shape": [1, 20]},
            },
        ),
        (
            "stream_datum",
            {
                **{"uid": "r/0", "stream_resource": "r", "descriptor": "run-d"},
                "indices": {"start": 0, "stop": 6},
                "seq_nums": {"start": 1, "stop": 7},
            },
        ),
    ]
    documents[2:2] = files
    told = instrument(offset=1800.0, dispersion=1.0).model_copy(
        update={"readable_roots": (str(tmp_path),)}
    )
    found = image_of(documents, told)
    assert found.spectra.mu.tolist() == cube.tolist()
    refused = told.model_copy(update={"readable_roots": ()})
    with pytest.raises(ImageError, match="some of the run cannot be read"):
        image_of(documents, refused)


def test_the_run_that_is_meant_is_taken():
    documents = [
        *run([{"camera": np.ones((2, 20))}], uid="dark", start={"dark_frame": True}),
        *run([{"camera": np.ones((2, 20))}], uid="one"),
        *run([{"camera": np.full((3, 20), 5.0)}], uid="two"),
    ]
    told = instrument(offset=0.0, dispersion=1.0)
    assert image_of(documents, told).shape == (2,)
    assert image_of(documents, told, uid="two").shape == (3,)
    with pytest.raises(ImageError, match="found no start document of the run three"):
        image_of(documents, told, uid="three")


@pytest.mark.parametrize(
    ("events", "told", "why"),
    [
        ([{"camera": np.ones(20)}], {"offset": 0.0, "dispersion": 1.0}, "one spectrum, no map"),
        ([{"camera": np.ones((2, 20))}], {}, "no axis of at least 10 energies"),
        ([{"other": 1.0}], {"energy": "energy"}, "no reading of the signal"),
        (
            [{"energy": ENERGY, "camera": np.ones((2, 19))}],
            {"energy": "energy"},
            "no axis of 20 energies",
        ),
        (
            [{"energy": ENERGY + 5 * k, "camera": np.ones(20)} for k in range(3)],
            {"energy": "energy"},
            "energies of their own",
        ),
        (
            [{"energy": e, "camera": 1.0} for e in ENERGY],
            {"energy": "energy"},
            "a step scan of one spectrum",
        ),
        (
            [{"camera": np.ones((2, 20))}, {"camera": np.ones((3, 20))}],
            {"offset": 0.0, "dispersion": 1.0},
            "expected one shape",
        ),
    ],
)
def test_what_is_no_map_says_why(events, told, why):
    with pytest.raises(ImageError, match=why):
        image_of(run(events), instrument(**told))
