"""Many spectra at once are normalised as each alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearedge.models import Reason, Rejected, Technique
from nearedge.models.many_spectra import Spectra
from nearedge.models.normalise.e0 import GRID_STEP, slope_kernel
from nearedge.models.normalise.edges import edge_energy
from nearedge.models.normalise.eels import normalise_eels
from nearedge.models.normalise.many.eels import normalise_many_eels
from nearedge.models.normalise.many.slopes import Slopes
from nearedge.models.normalise.many.xanes import normalise_many_xanes
from nearedge.models.normalise.xanes import normalise_xanes

WAYS = {
    Technique.EELS: (normalise_eels, normalise_many_eels),
    Technique.XANES: (normalise_xanes, normalise_many_xanes),
}
COUNT = 12
TOLERANCE = 1e-9


def edge(energy, at, *, peak):
    rise = 1 / (1 + np.exp(-np.clip((energy - at) / 0.8, -50, 50)))
    line = peak * np.exp(-0.5 * ((energy - at - 4) / 2) ** 2)
    return rise * (1 + line + 0.2 * np.sin((energy - at) / 6))


def block(technique, axis, *, element="Si", counts=1e4, seed=0, spoilt=0.0, **changes):
    """Spectra of one edge with steps and positions of their own, some of them spoilt."""
    rng = np.random.default_rng(seed)
    at = edge_energy(element, "K")
    energy = at + np.asarray(axis)
    steps = rng.choice([0.0, -0.2, 0.02, 0.3, 1.0], COUNT, p=[0.1, 0.1, 0.2, 0.2, 0.4])
    there = np.nan_to_num(energy, nan=at)
    slope = (np.maximum(there, 1.0) / at) ** -3
    mu = np.stack(
        [
            rng.poisson(counts * np.maximum(slope + h * edge(there, at + s, peak=p), 0.0))
            for h, s, p in zip(
                steps, rng.normal(0, 1.5, COUNT), rng.uniform(0, 2, COUNT), strict=True
            )
        ]
    ).astype(float)
    # where whole numbers make two places equally steep, rounding decides between them
    mu += rng.normal(0, 1e-3, mu.shape)
    for k in np.flatnonzero(rng.random(COUNT) < spoilt):
        spoil(mu[k], rng)
    told = {"technique": technique, "absorber": element, "edge": "K"}
    return Spectra(energy=energy, mu=mu, **{**told, **changes})


def spoil(row, rng):
    """Spoil a spectrum as detectors do."""
    at = int(rng.integers(len(row)))
    match rng.integers(6):
        case 0:
            row[at] = np.nan
        case 1:
            row[at] += 50 * np.abs(row).max()
        case 2:
            row[:] = row[0]
        case 3:
            np.minimum(row, np.quantile(row, 0.8), out=row)
        case 4:
            row[:] = np.nan
        case 5:
            row[-1 - int(rng.integers(3)) :] += 50 * np.abs(row).max()


def compare(spectra, **how):
    """Compare every spectrum of a block with what it is alone; return how many have an edge."""
    single, many = WAYS[spectra.technique]
    found = many(spectra, **how)
    shown = 0
    for k in range(len(spectra)):
        one = single(spectra.one(k), **how)
        if isinstance(one, Rejected):
            assert found.rejected[k] == one
            assert not found.good[k]
            assert np.isnan(found.flat[k]).all()
            continue
        shown += 1
        assert k not in found.rejected
        assert found.flags[k] == one.flags
        compare_numbers(found, k, one)
    return shown


def compare_numbers(found, k, one):
    seen = np.isfinite(found.flat[k])
    assert seen.sum() == len(one.energy)
    assert found.energy[seen] + found.energy_shift[k] == pytest.approx(one.energy, abs=1e-6)
    for name in ("norm", "flat"):
        wanted = getattr(one, name)
        off = np.abs(getattr(found, name)[k][seen] - wanted)
        assert (off <= TOLERANCE * np.maximum(np.abs(wanted), 1.0)).all()
    numbers = (found.e0[k], found.edge_step[k], found.edge_step_error[k], found.energy_shift[k])
    wanted = (one.e0, one.edge_step, one.parameters["edge_step_error"], one.energy_shift)
    assert numbers == pytest.approx(wanted, rel=TOLERANCE)


AXES = st.builds(
    lambda before, step, count: -before + step * np.arange(count),
    st.sampled_from([8.0, 25.0, 45.0, 90.0]),
    st.sampled_from([0.25, 0.5, 1.0, 2.5, 5.0]),
    st.sampled_from([9, 40, 110, 320]),
)
BLOCKS = {
    "axis": AXES,
    "seed": st.integers(0, 2**32 - 1),
    "counts": st.sampled_from([2.0, 300.0, 1e4, 1e7]),
    "element": st.sampled_from(["O", "Si", "Fe", "Mo"]),
    "spoilt": st.sampled_from([0.0, 0.4]),
}


@settings(max_examples=60, deadline=None)
@given(technique=st.sampled_from(list(WAYS)), **BLOCKS)
def test_every_spectrum_of_a_block_is_what_it_is_alone(technique, axis, **told):
    compare(block(technique, axis, **told))


@settings(max_examples=30, deadline=None)
@given(
    technique=st.sampled_from(list(WAYS)),
    seed=st.integers(0, 2**32 - 1),
    order=st.sampled_from(["descending", "shuffled", "repeated", "gap"]),
)
def test_energies_may_come_in_any_order(technique, seed, order):
    axis = -60 + 0.8 * np.arange(180)
    match order:
        case "descending":
            axis = axis[::-1]
        case "shuffled":
            axis = np.random.default_rng(seed).permutation(axis)
        case "repeated":
            axis = np.repeat(axis, 2)
        case "gap":
            axis = np.concatenate([axis[:20], [np.nan], axis[24:]])
    compare(block(technique, axis, seed=seed, spoilt=0.3))


@pytest.mark.parametrize(
    ("technique", "how"),
    [
        (Technique.EELS, {"e0": 1843.0}),
        (Technique.EELS, {"background": (-40.0, -12.0), "step": (10.0, 30.0)}),
        (Technique.EELS, {"energy_shift": -2.5, "step": (50.0, 120.0)}),
        (Technique.EELS, {"deconvolve": True}),
        (Technique.XANES, {"e0": 1843.0, "step": 2000.0}),
        (Technique.XANES, {"pre1": -50.0, "pre2": -20.0, "norm1": 20.0, "norm2": 90.0}),
        (Technique.XANES, {"nnorm": 3, "nvict": 2}),
        (Technique.XANES, {"nnorm": 1, "energy_shift": 1.5}),
    ],
)
def test_settings_count_as_for_one(technique, how):
    shown = compare(block(technique, -70 + 0.5 * np.arange(400), seed=5), **how)
    assert shown > 3 or how.get("deconvolve")


def test_a_block_of_good_spectra_takes_the_fast_way():
    spectra = block(Technique.EELS, -60 + 0.5 * np.arange(300), seed=1, counts=1e6)
    assert not normalise_many_eels(spectra).alone


def low_losses(centres, *, seed=0):
    channels = np.arange(-30.0, 40.0, 0.25)
    peak = 1e6 * np.exp(-0.5 * ((channels - np.asarray(centres)[:, None]) / 0.5) ** 2)
    counts = np.random.default_rng(seed).poisson(peak + 50.0).astype(float)
    return {"low_loss_energy": channels, "low_loss": counts}


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    element=st.sampled_from(["O", "Si", "Fe"]),
    drift=st.sampled_from([0.02, 0.6, 4.0]),
    spoilt=st.sampled_from([0.0, 0.3]),
)
def test_an_own_low_loss_aligns_each_spectrum(seed, element, drift, spoilt):
    centres = np.random.default_rng(seed).normal(0, drift, COUNT)
    axis, low = -60 + 0.5 * np.arange(300), low_losses(centres, seed=seed)
    spectra = block(Technique.EELS, axis, element=element, seed=seed, spoilt=spoilt, **low)
    how = {"energy_shift": -1.3, "background": (-45.0, -4.0)} if seed % 2 else {}
    compare(spectra, **how)
    found = normalise_many_eels(spectra)
    assert found.energy_shift[found.good] == pytest.approx(-centres[found.good], abs=0.05)


def test_where_the_low_loss_has_no_peak_the_energies_are_flagged():
    low = low_losses(np.zeros(COUNT))
    low["low_loss"][1] = 50.0
    spectra = block(Technique.EELS, -60.1 + 0.5 * np.arange(300), seed=1, counts=1e6, **low)
    assert compare(spectra)
    found = normalise_many_eels(spectra)
    assert ["no-zero-loss" in flags for flags in found.flags] == [k == 1 for k in range(COUNT)]
    assert not found.alone
    assert "no-zero-loss" not in normalise_many_eels(spectra, align_zero_loss=False).flags[1]


def test_spectra_with_an_own_low_loss_take_the_fast_way():
    low = low_losses(np.random.default_rng(3).normal(0, 0.8, COUNT))
    spectra = block(Technique.EELS, -60 + 0.5 * np.arange(300), seed=1, counts=1e6, **low)
    assert compare(spectra)
    assert not normalise_many_eels(spectra).alone


def test_spectra_whose_low_loss_has_no_peak_stay_where_they_are():
    low = low_losses(np.zeros(COUNT))
    low["low_loss"][::2] = 1.0
    low["low_loss"][1, 3:9] = np.nan
    spectra = block(Technique.EELS, -60.1 + 0.5 * np.arange(300), seed=1, counts=1e6, **low)
    assert compare(spectra)


def test_a_point_at_the_end_of_a_window_is_left_to_the_single_way():
    channels = np.arange(-10.0, 40.0, 0.25)
    exact = np.exp(-0.5 * ((channels - np.repeat([0.0, 0.5], COUNT // 2)[:, None]) / 0.5) ** 2)
    low = {"low_loss_energy": channels, "low_loss": 1e6 * exact}
    spectra = block(Technique.EELS, -60 + 0.5 * np.arange(300), seed=1, counts=1e6, **low)
    assert compare(spectra)


def test_a_foil_of_its_own_aligns_each_spectrum():
    axis = -60 + 0.5 * np.arange(300)
    at = edge_energy("Si", "K")
    foils = np.stack([edge(at + axis, at + s, peak=0.5) for s in np.linspace(-2, 2, COUNT)])
    spectra = block(Technique.XANES, axis, seed=3, counts=1e6, reference=foils)
    assert compare(spectra, energy_shift="reference")


@pytest.mark.parametrize("technique", list(WAYS))
def test_an_edge_that_is_in_no_table_is_refused_for_all(technique):
    spectra = block(technique, np.arange(100.0), edge="Q9")
    assert compare(spectra) == 0
    assert {why.reason for why in WAYS[technique][1](spectra).rejected.values()} == {
        Reason.UNSUPPORTED
    }


def test_spectra_and_energies_must_fit():
    with pytest.raises(ValueError, match=r"\(3,\) and signals \(2, 4\)"):
        Spectra(
            energy=np.zeros(3),
            mu=np.zeros((2, 4)),
            technique=Technique.XANES,
            absorber="Si",
            edge="K",
        )


def test_slopes_are_the_convolution_of_the_single_way():
    rng = np.random.default_rng(2)
    energy = np.cumsum(rng.uniform(0.05, 3.0, 200))
    mu = rng.normal(size=(3, 200))
    slopes = Slopes(energy, 0.9)
    kernel = slope_kernel(0.9 / GRID_STEP)
    for row, found in zip(mu, slopes(mu), strict=True):
        signal = np.interp(slopes.grid, energy, row)
        padded = np.pad(signal, len(kernel) // 2, mode="edge")
        wanted = np.convolve(padded, kernel, mode="valid")
        assert found == pytest.approx(wanted, abs=1e-12)
