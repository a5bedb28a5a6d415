from dataclasses import replace

import numpy as np
import orjson
import pytest

from nearedge.models import NormalisedSpectrum, Samples, Technique
from nearedge.streaming.answers.plain import dump
from nearedge.streaming.answers.summary import scalars
from nearedge.streaming.page.view import (
    SHOWN_ATOMS,
    SHOWN_SAMPLES,
    cluster_view,
    heaviest,
    shown_columns,
    spectrum_view,
    windows,
)


def many(count: int, atoms: int = 4) -> Samples:
    rng = np.random.default_rng(0)
    weights = rng.random(count)
    return Samples(
        species=np.full((count, atoms), "O"),
        positions=rng.normal(size=(count, atoms, 3)).astype(np.float32),
        weights=weights / weights.sum(),
    )


def test_windows_of_xanes_are_counted_from_e0(spectrum: NormalisedSpectrum) -> None:
    numbers = {"pre1": -40.0, "pre2": -20.0, "norm1": 15.0, "norm2": 60.0, "nvict": 0.0}
    assert windows(replace(spectrum, parameters=numbers)) == [
        {"name": "pre-edge", "from": 1806.5, "to": 1826.5},
        {"name": "post-edge", "from": 1861.5, "to": 1906.5},
    ]


def test_the_background_window_of_eels_is_an_energy_loss(spectrum: NormalisedSpectrum) -> None:
    numbers = {"background1": 60.0, "background2": 95.0, "step1": 30.0, "step2": 60.0}
    lost = replace(spectrum, technique=Technique.EELS, e0=99.0, parameters=numbers)
    assert windows(lost) == [
        {"name": "background", "from": 60.0, "to": 95.0},
        {"name": "step", "from": 129.0, "to": 159.0},
    ]


def test_what_is_not_finite_is_null_in_json(spectrum: NormalisedSpectrum) -> None:
    flat = spectrum.flat.copy()
    flat[0] = np.nan
    shown = orjson.loads(dump(spectrum_view(replace(spectrum, flat=flat))))
    assert shown["flat"][0] is None
    assert shown["flat"][1:] == spectrum.flat[1:].tolist()


def test_of_many_samples_the_heaviest_are_shown() -> None:
    samples = many(100)
    shown = heaviest(samples, 10)
    assert shown.weights.sum() == pytest.approx(1.0)
    kept = np.isin(samples.positions[:, 0, 0], shown.positions[:, 0, 0])
    assert samples.weights[kept].min() >= samples.weights[~kept].max()
    view = cluster_view(samples, absorber="Si")
    assert len(view["positions"]) == SHOWN_SAMPLES
    assert view["samples"] == 100


def test_of_many_atoms_the_nearest_are_shown() -> None:
    samples = many(1, atoms=60)
    shown = np.array(cluster_view(samples, absorber="Si")["positions"])
    assert shown.shape == (1, SHOWN_ATOMS, 3)
    assert np.allclose(shown, samples.positions[:, :SHOWN_ATOMS], atol=1e-4)


def test_the_typical_sample_comes_first_and_unturned() -> None:
    samples = many(6)
    view = cluster_view(samples, absorber="Si")
    first = np.array(view["positions"][0], np.float32)
    assert any(np.allclose(first, positions, atol=1e-4) for positions in samples.positions)
    assert np.shape(view["bonded"]) == (6, 4)


def test_columns_that_cannot_be_drawn_are_left_out() -> None:
    columns = {"energy": np.arange(3), "if": np.ones((3, 2)), "name": np.array(["a"])}
    assert shown_columns(columns) == {"energy": [0.0, 1.0, 2.0]}
    assert shown_columns({"energy": np.arange(9)}, longest=5) == {}


def test_scalars_are_numbers_and_short_texts() -> None:
    context = {"p": np.float64(2.5), "n": np.array(3), "t": "x" * 99, "bad": np.nan, "v": [1, 2]}
    assert scalars(context) == {"p": 2.5, "n": 3, "t": "x" * 80}
