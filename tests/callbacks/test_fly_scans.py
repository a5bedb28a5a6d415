"""Fly scans: whole sweeps in an event, their energies with them or in a stream of their own."""

import event_model
import numpy as np
import pytest

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.reduce import reduce
from nearedge.models import Reason, Rejected, Spectrum

ENERGIES = np.linspace(1810.0, 1890.0, 81)


def mu(energy, place):
    step = 0.5 + np.arctan(energy - 1845.0) / np.pi
    return step + place * 1.5 * np.exp(-(((energy - 1848.0) / 3) ** 2))


def sweep(energies=ENERGIES, place=0.0, *, own=True):
    data = {"i0": np.full(len(energies), 1e6), "it": 1e6 * np.exp(-mu(energies, place))}
    return {"energies": energies, **data} if own else data


def fly(when="stop", **changes):
    roles = {"energy": "energies", "i0": "i0", "it": "it"}
    return Instrument.model_validate({"roles": roles, "finish": {"when": when}, **changes})


def run(uid, sweeps, axes, *, leads=True, ends=True):
    """Sweeps in ``primary``; energies in ``bins``, published before or after their sweep."""
    made = event_model.compose_run(uid=uid, time=100.0, validate=False)
    clock = iter(range(101, 1000))

    def stream(name, first):
        keys = {key: {"source": "x", "dtype": "array", "shape": [len(first[key])]} for key in first}
        return made.compose_descriptor(name=name, data_keys=keys, validate=False)

    def event(bundle, data):
        time = float(next(clock))
        stamps = dict.fromkeys(data, time)
        return "event", dict(bundle.compose_event(data=data, timestamps=stamps, time=time,
                                                  validate=False))  # fmt: skip

    bins, primary = stream("bins", {"energies": axes[0]}), stream("primary", sweeps[0])
    yield "start", dict(made.start_doc)
    yield "descriptor", dict(bins.descriptor_doc)
    yield "descriptor", dict(primary.descriptor_doc)
    for number, one in enumerate(sweeps):
        mine = [{"energies": axes[number]}] if number < len(axes) else []
        first, then = ((bins, mine), (primary, [one]))[:: 1 if leads else -1]
        yield from (event(first[0], data) for data in first[1])
        yield from (event(then[0], data) for data in then[1])
    if ends:
        yield "stop", dict(made.compose_stop(time=999.0))


def spectra(finals, instrument):
    found = [reduce(measurement, instrument) for measurement in finals]
    assert all(isinstance(spectrum, Spectrum) for spectrum in found)
    return found


@pytest.mark.parametrize("streams", [("primary",), ("bins", "primary")])
def test_one_array_of_energies_serves_every_sweep(hearing, streams):
    instrument = fly("event", streams=streams)
    documents = run("a", [sweep(place=0, own=False), sweep(place=1, own=False)], [ENERGIES])
    finals = hearing(instrument).take(documents).finals
    assert [(m.spectrum, m.stream, m.complete, m.flags) for m in finals] == [
        ("1", "primary", True, ()),
        ("2", "primary", True, ()),
    ]
    for place, spectrum in enumerate(spectra(finals, instrument)):
        assert np.array_equal(spectrum.energy, ENERGIES)
        assert np.allclose(spectrum.mu, mu(ENERGIES, place))


@pytest.mark.parametrize("leads", [True, False])
@pytest.mark.parametrize("when", ["event", "stop"])
def test_sweeps_to_and_fro_have_energies_of_their_own(hearing, leads, when):
    axes = [ENERGIES, ENERGIES[::-1], ENERGIES]
    documents = run("a", [sweep(axis, own=False) for axis in axes], axes, leads=leads)
    finals = hearing(fly(when)).take(documents).finals
    assert len(finals) == (3 if when == "event" else 1) and all(m.flags == () for m in finals)
    for spectrum in spectra(finals, fly(when)):
        assert np.allclose(spectrum.mu, mu(spectrum.energy, 0))
        assert np.ptp(spectrum.energy) == 80.0


def test_sweeps_are_finished_while_the_run_goes_on(hearing):
    axes = [ENERGIES, ENERGIES[::-1]]
    sweeps = [sweep(axis, own=False) for axis in axes]
    for leads in (True, False):
        heard = hearing(fly("event")).take(run("a", sweeps, axes, leads=leads, ends=False))
        assert [m.spectrum for m in heard.finals] == ["1", "2"]


def test_energies_that_come_last_serve_every_sweep(hearing):
    documents = list(run("a", [sweep(own=False)] * 2, [ENERGIES], leads=False))
    late = documents.pop(4)
    late[1]["time"] = 500.0
    finals = hearing(fly("event")).take([*documents[:-1], late, documents[-1]]).finals
    assert [m.spectrum for m in finals] == ["1", "2"]
    assert all(s.energy.tolist() == ENERGIES.tolist() for s in spectra(finals, fly("event")))


def test_energies_that_were_lost_are_a_gap(hearing):
    documents = list(run("a", [sweep(own=False)] * 2, [ENERGIES, ENERGIES]))
    del documents[5]
    heard = hearing(fly("event")).take(documents)
    assert "stream bins: 1 events never came (seq_num 2)" in heard.gaps[0].detail


def test_unlike_sweeps_are_not_averaged_unseen(hearing):
    documents = run("a", [sweep(place=0, own=False), sweep(place=1, own=False)], [ENERGIES])
    only = hearing(fly()).take(documents).only
    assert only.flags == ("unlike-averaged",) and "when: event" in only.unlike
    assert "scatter" not in only.columns


def test_like_sweeps_are_averaged_and_their_scatter_kept(hearing):
    rng = np.random.default_rng(3)
    sweeps = [sweep(own=False) for _ in range(5)]
    noisy = [one | {"it": one["it"] * (1 + rng.normal(0, 1e-3, 81))} for one in sweeps]
    only = hearing(fly()).take(run("a", noisy, [ENERGIES])).only
    assert only.flags == ()
    assert np.array_equal(only.columns["it"], np.mean([one["it"] for one in noisy], axis=0))
    scatter = np.std([np.log(1e6 / one["it"]) for one in noisy], axis=0, ddof=1) / np.sqrt(5)
    assert np.allclose(only.columns["scatter"], scatter)


def test_energies_within_the_event(hearing, compose):
    events = [sweep(ENERGIES, 0), sweep(ENERGIES[::-1], 0), sweep(ENERGIES + 0.3, 0)]
    finals = hearing(fly("event")).take(compose("a", events)).finals
    for axis, spectrum in zip((e["energies"] for e in events), spectra(finals, fly()), strict=True):
        assert spectrum.energy.tolist() == axis.tolist()
        assert np.allclose(spectrum.mu, mu(axis, 0))
    (together,) = spectra([hearing(fly()).take(compose("b", events[:2])).only], fly())
    assert len(together.energy) == 162 and np.allclose(together.mu, mu(together.energy, 0))


def test_a_sweep_at_each_position(hearing, compose):
    events = [sweep(place=p) | {"x": float(p)} for p in (0, 1, 2)]
    metadata = {"plan_name": "scan", "hints": {"dimensions": [[["x"], "primary"]]}, "shape": [3]}
    finals = hearing(fly()).take(compose("a", events, metadata=metadata)).finals
    assert [(m.spectrum, m.context["x"]) for m in finals] == [("0.1", 0), ("0.2", 1), ("0.3", 2)]
    for place, spectrum in enumerate(spectra(finals, fly())):
        assert np.allclose(spectrum.mu, mu(ENERGIES, place))


def test_energies_elsewhere_are_named_in_the_refusal(hearing):
    other = Instrument.model_validate(
        {"roles": {"energy": "mono", "i0": "i0", "it": "it"}, "finish": {"when": "event"}}
    )
    documents = run("a", [sweep(own=False)], [ENERGIES])
    rejected = reduce(hearing(other).take(documents).only, other)
    assert isinstance(rejected, Rejected) and rejected.reason is Reason.MISSING_SIGNAL
    assert "energies (stream bins)" in rejected.detail
    assert "expected mono as energy" in rejected.detail


def test_energies_that_do_not_fit_are_a_rejection(hearing):
    documents = run("a", [sweep(own=False)], [ENERGIES[:-1]])
    rejected = reduce(hearing(fly("event")).take(documents).only, fly("event"))
    assert rejected.reason is Reason.BAD_ENERGIES and "80 energies for 81" in rejected.detail


def mapped(places):
    """A frame (rows, columns, energies) of the absorption."""
    return np.array([[mu(ENERGIES, place) for place in row] for row in places])


def maps(**changes):
    roles = {"energy": "energies", "mu": "mu"}
    return Instrument.model_validate({"signal": "mu", "roles": roles, **changes})


PLACES = [[0.0, 1.0, 2.0], [0.5, 1.5, 2.5]]


@pytest.mark.parametrize("when", ["stop", "event"])
def test_a_frame_of_a_few_pixels_is_a_spectrum_for_each(hearing, compose, when):
    instrument = maps(finish={"when": when})
    events = [{"energies": ENERGIES, "mu": mapped(PLACES)}]
    finals = hearing(instrument).take(compose("a", events)).finals
    base = "0" if when == "stop" else "1"
    assert [m.spectrum for m in finals] == [f"{base}.{k}" for k in range(1, 7)]
    assert [(m.context["row"], m.context["column"]) for m in finals] == list(np.ndindex(2, 3))
    for place, spectrum in zip(np.ravel(PLACES), spectra(finals, instrument), strict=True):
        assert np.allclose(spectrum.mu, mu(ENERGIES, place))


def test_a_frame_of_many_pixels_is_flagged_or_rejected(hearing, compose):
    events = [{"energies": ENERGIES, "mu": mapped(np.zeros((9, 8)))}]
    only = hearing(maps()).take(compose("a", events)).only
    assert only.flags == ("unlike-averaged",)
    assert "frames of 9 x 8 spectra" in only.unlike and "instrument.split.most" in only.unlike
    strict = maps(split={"unlike": "reject"})
    assert reduce(only, strict).reason is Reason.UNLIKE


def test_the_rows_of_a_camera_are_averaged_when_they_agree(hearing, compose):
    rows = np.array([[0.2], [1.0], [0.5]]) * mu(ENERGIES, 0)
    only = hearing(maps()).take(compose("a", [{"energies": ENERGIES, "mu": rows}])).only
    assert only.flags == () and np.allclose(only.columns["mu"], rows.mean(axis=0))
    rows = np.array([mu(ENERGIES, place) for place in (0, 0, 2)])
    only = hearing(maps()).take(compose("b", [{"energies": ENERGIES, "mu": rows}])).only
    assert only.flags == ("unlike-averaged",) and "averages 3 spectra" in only.unlike


def shifted(energy):
    """An edge on a background, as a camera with so many channels sees it from an offset on."""
    return 1e4 * (energy / 1800) ** -3 + 1e3 * (energy > 1845)


def test_frames_from_another_offset_keep_energies_of_their_own(hearing, compose):
    """The spectrometer is shifted between frames, so that no channel has always the same energy."""
    roles = {"spectrum": "s", "offset": "o", "dispersion": 0.5}
    camera = Instrument.model_validate(
        {"technique": "eels", "signal": "spectrum", "absorber": "Si", "roles": roles}
    )
    offsets = [1800.0, 1803.0, 1798.5]
    frames = [{"s": shifted(o + 0.5 * np.arange(200)) + 7.0, "o": o} for o in offsets]
    dark = compose("d", [{"s": np.full(200, 7.0), "o": 1800.0}], metadata={"dark_frame": True})
    heard = hearing(camera).take(dark)
    only = heard.take(compose("a", frames, time=500.0)).finals[-1]
    assert only.flags == () and only.dark_runs == ("d",)
    spectrum = reduce(only, camera)
    assert len(spectrum.energy) == 600 and spectrum.flags == ("dark-subtracted",)
    assert np.allclose(spectrum.mu, shifted(spectrum.energy))
