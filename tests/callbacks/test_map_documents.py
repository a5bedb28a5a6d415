"""Maps of runs that a RunEngine made: fluorescence, low losses, scalars and outer axes."""

import time

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.plans import count, grid_scan, list_grid_scan, scan
from pydantic import ValidationError

from nearedge.callbacks.assemble import Assembler
from nearedge.callbacks.block import MapEnd
from nearedge.callbacks.images import image_of
from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.pixel_signal import ImageError
from nearedge.callbacks.reduce import reduce

ENERGY = 1820.0 + np.arange(60.0)
CHANNELS = 1780.0 + np.arange(60.0)


class Done:
    """Something that has happened."""

    done, success = True, True

    def add_callback(self, callback):
        callback(self)

    def exception(self, timeout=0.0):
        return None

    def wait(self, timeout=None):
        pass


class Motor:
    """Is where it was sent."""

    parent = None

    def __init__(self, name, units=""):
        self.name, self.at, self._units = name, 0.0, units
        self.hints = {"fields": [name]}

    @property
    def position(self):
        return self.at

    def set(self, value):
        self.at = float(value)
        return Done()

    def read(self):
        return {self.name: {"value": self.at, "timestamp": time.time()}}

    def describe(self):
        about = {"source": "sim", "dtype": "number", "shape": [], "units": self._units}
        return {self.name: about}


class Detector:
    """Reads what a function returns: numbers and arrays by name."""

    parent = None

    def __init__(self, measure):
        self.name, self._measure = "detector", measure

    def trigger(self):
        self._read = {k: np.asarray(v, float) for k, v in self._measure().items()}
        return Done()

    def read(self):
        return {k: {"value": v, "timestamp": time.time()} for k, v in self._read.items()}

    def describe(self):
        self.trigger()
        return {
            k: {
                "source": "sim",
                "dtype": "array" if v.ndim else "number",
                "shape": list(v.shape),
            }
            for k, v in self._read.items()
        }


def recorded(plan):
    """Return the documents of a plan."""
    documents = []
    engine = RunEngine({}, call_returns_result=False)
    engine(plan, lambda name, doc: documents.append((name, doc)))
    return documents


def instrument(**more):
    told = {"absorber": "Si", "composition": "SiO2", "finish": {"when": "pixel"}}
    return Instrument.model_validate({**told, **more})


def mapped(documents, told):
    """Return the blocks of a run, its end, and the single spectra that it became instead."""
    blocks, single = [], []
    assembler = Assembler(told, emit=single.append, emit_block=blocks.append)
    for name, doc in documents:
        assembler(name, doc)
    ends = [one for one in blocks if isinstance(one, MapEnd)]
    return [one for one in blocks if not isinstance(one, MapEnd)], ends, single


def image(blocks, end):
    """Return the spectra (…, n) where they lie."""
    shape = end.layout.shape
    found = np.full((int(np.prod(shape)), blocks[0].spectra.mu.shape[-1]), np.nan)
    for block in blocks:
        found[block.places] = block.spectra.mu
    return found.reshape(*shape, -1)


def as_single(documents, told):
    """Return the spectra that events would be one by one, flags with them."""
    alone = told.model_copy(update={"finish": told.finish.model_copy(update={"when": "event"})})
    _, _, single = mapped(documents, alone)
    return [reduce(one, alone) for one in single]


def edge(height):
    return height * (0.2 + 1.0 / (1.0 + np.exp(-(ENERGY - 1846.0) / 2)))


# fluorescence

SWEPT = {"energy": "mono", "i0": "i0", "if_": ("sdd1", "sdd2", "sdd3")}


def swept(height, *, rates=False):
    counts = {f"sdd{k}": 1000.0 * k * edge(height) for k in (1, 2, 3)}
    i0 = 1e5 * (1.0 + 0.1 * np.sin(ENERGY))
    found = {"mono": ENERGY, "i0": i0, **{k: v * i0 / 1e5 for k, v in counts.items()}}
    if rates:
        found |= {f"icr{k}": counts[f"sdd{k}"] * 1.3 * k for k in (1, 2, 3)}
        found |= {f"ocr{k}": counts[f"sdd{k}"] for k in (1, 2, 3)}
    return found


@pytest.mark.parametrize(
    ("roles", "more"),
    [
        (SWEPT, {}),
        (SWEPT, {"omit_elements": [1]}),
        (SWEPT | {k: tuple(f"{k}{n}" for n in (1, 2, 3)) for k in ("icr", "ocr")}, {}),
    ],
)
def test_sweeps_of_fluorescence_are_those_of_single_spectra(roles, more):
    x, y = Motor("x", "mm"), Motor("y", "mm")
    device = Detector(lambda: swept(1.0 + x.at + 10 * y.at, rates="icr" in roles))
    documents = recorded(grid_scan([device], y, 0, 1, 2, x, 0, 2, 3, snake_axes=True))
    told = instrument(signal="fluorescence", roles=roles, **more)
    blocks, (end,), _ = mapped(documents, told)
    found = image(blocks, end)
    assert [(axis.name, axis.unit) for axis in end.layout.axes] == [("y", "mm"), ("x", "mm")]
    one_by_one = as_single(documents, told)
    snaked = [found[0, 0], found[0, 1], found[0, 2], found[1, 2], found[1, 1], found[1, 0]]
    for pixel, single in zip(snaked, one_by_one, strict=True):
        assert pixel == pytest.approx(single.mu, rel=1e-6)


def test_a_frame_of_fluorescence_has_a_key_for_each_element():
    heights = 1.0 + np.arange(6.0).reshape(2, 3)
    i0 = np.full(len(ENERGY), 1e5)

    def frame():
        each = np.array([[edge(h) for h in row] for row in heights])
        return {"mono": ENERGY, "i0": i0, "a": 100 * each, "b": 200 * each}

    told = instrument(
        signal="fluorescence", roles={"energy": "mono", "i0": "i0", "if_": ("a", "b")}
    )
    documents = recorded(count([Detector(frame)]))
    blocks, (end,), _ = mapped(documents, told)
    assert end.layout.shape == (2, 3)
    wanted = np.array([[300 * edge(h) / 1e5 for h in row] for row in heights])
    assert image(blocks, end) == pytest.approx(wanted, rel=1e-6)
    assert image_of(documents, told).spectra.mu == pytest.approx(wanted.reshape(6, -1), rel=1e-6)


def test_channels_of_a_line_are_summed_and_those_without_one_flagged():
    x = Motor("x")

    def measure():
        spectra = np.zeros((len(ENERGY), 200))
        spectra[:, 50:60] = 30.0 * edge(1 + x.at)[:, None]
        spectra[:, 100:] = 7.0
        return {"mono": ENERGY, "i0": np.full(len(ENERGY), 1e5), "mca": spectra}

    documents = recorded(scan([Detector(measure)], x, 0, 1, 2))
    roles = {"energy": "mono", "i0": "i0", "if_": ("mca",)}
    told = instrument(signal="fluorescence", roles={**roles, "roi": (50, 60)})
    blocks, (end,), _ = mapped(documents, told)
    wanted = np.array([300.0 * edge(1.0) / 1e5, 300.0 * edge(2.0) / 1e5])
    assert image(blocks, end) == pytest.approx(wanted, rel=1e-6)
    blocks, _, _ = mapped(documents, instrument(signal="fluorescence", roles=roles))
    assert blocks[0].spectra.flags == ("no-region-of-interest",)


def test_elements_that_may_be_pixels_are_refused_by_name():
    def measure():
        return {"mono": ENERGY, "i0": 1e5, "sdd": [100 * edge(1.0), 200 * edge(1.0)]}

    documents = recorded(count([Detector(measure)], num=2))
    roles = {"energy": "mono", "i0": "i0", "if_": ("sdd",)}
    told = instrument(signal="fluorescence", roles=roles)
    with pytest.raises(ImageError, match="name one data key for each element"):
        image_of(documents, told)
    blocks, ends, single = mapped(documents, told)
    assert (blocks, ends) == ([], [])
    assert "no-map" in single[0].flags


# low losses

LOW = -20.0 + 0.5 * np.arange(100)
EELS = {
    "technique": "eels",
    "signal": "spectrum",
    "roles": {
        **{"spectrum": "core", "low_loss": "low", "offset": 1780.0, "dispersion": 0.5},
        **{"low_loss_offset": -20.0},
    },
}


def peak(at):
    return 1e6 * np.exp(-(((LOW - at) / 1.5) ** 2)) + 10.0


def lost(at):
    channels = 1780.0 + 0.5 * np.arange(300)
    return 1e5 * (channels / 1780.0) ** -3 * (1.0 + 0.4 * (channels > 1846.0 + at))


def test_each_pixel_is_shifted_by_its_own_zero_loss_peak():
    from nearedge.callbacks.prepare import prepare
    from nearedge.callbacks.prepare_many import prepare_many

    y = Motor("y")
    shifts = [0.0, 1.25, -2.0]

    def line():
        own = [s + y.at for s in shifts]
        return {"core": [lost(s) for s in own], "low": [peak(s) for s in own]}

    documents = recorded(scan([Detector(line)], y, 0, 1, 2))
    told = instrument(**EELS)
    blocks, (end,), _ = mapped(documents, told)
    assert end.layout.shape == (2, 3)
    spectra = blocks[0].spectra
    assert spectra.low_loss.shape == (6, 100)
    found = prepare_many(spectra, told, supports=lambda absorber, edge: True)
    assert found.energy_shift == pytest.approx([-s - y for y in (0, 1) for s in shifts], abs=0.05)
    alone = [prepare(spectra.one(k), told, supports=lambda absorber, edge: True) for k in range(6)]
    for k, one in enumerate(alone):
        assert found.e0[k] == pytest.approx(one.e0, abs=1e-9)
        assert found.energy_shift[k] == pytest.approx(one.energy_shift, abs=1e-9)


def test_a_low_loss_for_a_whole_line_is_that_of_each_pixel():
    documents = recorded(
        count([Detector(lambda: {"core": [lost(1.0)] * 4, "low": peak(1.0)})], num=2)
    )
    blocks, _, _ = mapped(documents, instrument(**EELS))
    assert blocks[0].spectra.low_loss == pytest.approx(np.array([peak(1.0)] * 8), rel=1e-6)


def test_low_losses_of_other_pixels_refuse_these():
    documents = recorded(
        count([Detector(lambda: {"core": [lost(0.0)] * 4, "low": [peak(0.0)] * 3})], num=2)
    )
    blocks, _, _ = mapped(documents, instrument(**EELS))
    assert {"expected one for each" in block.refused.detail for block in blocks} == {True}


def test_a_low_loss_without_an_axis_is_flagged_and_not_used():
    documents = recorded(count([Detector(lambda: {"core": [lost(0)] * 4, "low": [peak(0)] * 4})]))
    roles = {k: v for k, v in EELS["roles"].items() if k != "low_loss_offset"}
    blocks, _, _ = mapped(documents, instrument(**{**EELS, "roles": roles}))
    assert blocks[0].spectra.flags == ("low-loss-without-axis",)
    assert blocks[0].spectra.low_loss is None


def test_a_low_loss_that_nothing_uses_does_not_travel():
    documents = recorded(count([Detector(lambda: {"core": [lost(0)] * 4, "low": [peak(0)] * 4})]))
    told = instrument(**EELS, normalise={"align_zero_loss": False})
    blocks, _, _ = mapped(documents, told)
    assert (blocks[0].spectra.flags, blocks[0].spectra.low_loss) == ((), None)


@pytest.mark.parametrize("snake", [True, False])
def test_a_snaked_list_of_places_lies_right(snake):
    x, y = Motor("x"), Motor("y")
    device = Detector(lambda: {"mono": ENERGY, "mu": edge(1.0 + x.at + 10 * y.at)})
    plan = list_grid_scan([device], y, [0, 1, 2], x, [0, 1, 2, 3], snake_axes=snake)
    told = instrument(signal="mu", roles={"energy": "mono", "mu": "mu"})
    blocks, (end,), _ = mapped(recorded(plan), told)
    wanted = [[edge(1.0 + i + 10 * k) for i in range(4)] for k in range(3)]
    assert image(blocks, end) == pytest.approx(np.array(wanted), rel=1e-6)


def test_motors_that_snake_may_be_named():
    from nearedge.callbacks.raster import _snaking

    told = {"snake_axes": ["Motor(prefix='', name='x', settle_time=0.0)"]}
    assert _snaking(told, [("z",), ("y",), ("x",)]) == [False, False, True]


# scalars

MU = {"signal": "mu", "roles": {"energy": "mono", "mu": "mu", "context": ("pressure", "heater")}}


def test_scalars_lie_along_a_series():
    pressure, heater = Motor("pressure", "GPa"), Motor("heater", "K")
    device = Detector(lambda: {"mono": ENERGY, "mu": edge(1.0)})

    @bpp.baseline_decorator([heater])
    @bpp.run_decorator(md={"operator_height": 1.8})
    def series():
        for value in (1.0, 2.0, 3.0):
            yield from bps.mv(pressure, value)
            yield from bps.trigger_and_read([device, pressure])

    heater.set(300.0)
    _, (end,), _ = mapped(recorded(series()), instrument(**MU))
    assert end.layout.shape == (3,)
    assert list(end.along) == ["pressure"]
    assert list(end.along["pressure"]) == [1.0, 2.0, 3.0]
    assert end.context["heater"] == 300.0
    assert end.context["operator_height"] == 1.8
    assert (end.units["pressure"], end.units["heater"]) == ("GPa", "K")


def test_scalars_lie_where_a_snaked_raster_was():
    x, y, pressure = Motor("x"), Motor("y"), Motor("pressure")

    def measure():
        pressure.set(10 * y.at + x.at)
        return {"mono": ENERGY, "mu": [edge(1.0), edge(2.0)]}

    device = Detector(measure)
    documents = recorded(grid_scan([device, pressure], y, 0, 1, 2, x, 0, 2, 3, snake_axes=True))
    _, (end,), _ = mapped(documents, instrument(**MU))
    assert end.layout.shape == (2, 3, 2)
    assert end.along["pressure"].tolist() == [[0, 1, 2], [10, 11, 12]]


def test_scalars_of_a_single_frame_are_those_of_the_map():
    pressure = Motor("pressure")
    pressure.set(4.0)
    device = Detector(lambda: {"mono": ENERGY, "mu": np.ones((2, 3, 1)) * edge(1.0)})
    _, (end,), _ = mapped(recorded(count([device, pressure])), instrument(**MU))
    assert (dict(end.along), end.context["pressure"]) == ({}, 4.0)


# outer axes


def frames(temperature, energy):
    """Return a camera whose image at an energy depends on a temperature."""
    heights = 1.0 + np.arange(6.0).reshape(2, 3)

    def measure():
        at = float(np.interp(energy.at, ENERGY, edge(1.0)))
        return {"image": heights * at + temperature.at}

    return Detector(measure)


IMAGES = {"signal": "mu", "roles": {"energy": "mono", "mu": "image", "context": ("T",)}}


@pytest.mark.parametrize("snake", [False, True])
@pytest.mark.parametrize("inner", ["energy", "temperature"])
def test_a_stack_repeated_along_a_motor_has_an_axis_more(inner, snake):
    temperature, energy = Motor("T", "K"), Motor("mono", "eV")
    device = frames(temperature, energy)
    axes = [(temperature, [300.0, 500.0, 400.0]), (energy, list(ENERGY))]
    told = [one for axis in (axes if inner == "energy" else axes[::-1]) for one in axis]
    documents = recorded(list_grid_scan([device], *told, snake_axes=snake))
    blocks, (end,), single = mapped(documents, instrument(**IMAGES))
    assert single == []
    assert [(axis.name, axis.unit) for axis in end.layout.axes] == [
        ("T", "K"),
        ("axis 1", ""),
        ("axis 2", ""),
    ]
    at = end.layout.axes[0].positions
    assert sorted(at) == [300.0, 400.0, 500.0]
    heights = 1.0 + np.arange(6.0).reshape(2, 3)
    for k, t in enumerate(at):
        for block in blocks:
            inside = (block.places >= 6 * k) & (block.places < 6 * (k + 1))
            if not inside.any():
                continue
            rising = np.argsort(block.spectra.energy)
            wanted = heights.ravel()[:, None] * edge(1.0) + t
            assert block.spectra.mu[inside][:, rising] == pytest.approx(wanted, rel=1e-6)
    assert end.along["T"].tolist() == list(at)
    with pytest.raises(ImageError, match="3 stacks one after the other"):
        image_of(documents, instrument(**IMAGES))


def test_stacks_that_no_motor_tells_apart_are_repeats():
    temperature, energy = Motor("T"), Motor("mono")
    device = frames(temperature, energy)

    @bpp.run_decorator()
    def twice():
        for _ in range(2):
            for value in ENERGY:
                yield from bps.mv(energy, value)
                yield from bps.trigger_and_read([device, energy])

    _, (end,), _ = mapped(recorded(twice()), instrument(**IMAGES))
    assert [axis.name for axis in end.layout.axes] == ["repeat", "axis 1", "axis 2"]
    assert end.layout.shape == (2, 2, 3)


def test_a_single_stack_has_no_axis_more():
    temperature, energy = Motor("T"), Motor("mono")
    documents = recorded(scan([frames(temperature, energy)], energy, 1820, 1879, 60))
    _, (end,), _ = mapped(documents, instrument(**IMAGES))
    assert end.layout.shape == (2, 3)


# what maps cannot


@pytest.mark.parametrize(
    "more", [{"saturation": 1e5}, {"normalise": {"energy_shift": "reference"}}]
)
def test_what_maps_cannot_do_is_refused_with_the_profile(more):
    with pytest.raises(ValidationError, match="the pixels of a map"):
        instrument(**MU, **more)
