"""One spectrum and its answer as plain data: everything that the page draws."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nearedge.models import Estimates, NormalisedSpectrum, Samples
from nearedge.models.clusters.angles import angle_distribution
from nearedge.models.clusters.geometry import first_shell
from nearedge.streaming.answers.answer import Answer
from nearedge.streaming.answers.figures import plain_figures
from nearedge.streaming.answers.overlay import overlay
from nearedge.streaming.answers.summary import Json, scalars

SHOWN_SAMPLES = 32  # more overlaid clusters are a cloud, and megabytes for the browser
SHOWN_ATOMS = 24  # farther ones hide the absorber


def spectrum_view(spectrum: NormalisedSpectrum) -> Json:
    """Return a spectrum with the windows that it was normalised with."""
    return {
        **{name: plain(getattr(spectrum, name)) for name in ("energy", "mu", "norm", "flat")},
        **{name: getattr(spectrum, name) for name in ("e0", "edge_step", "energy_shift")},
        "technique": str(spectrum.technique),
        "edge": f"{spectrum.absorber} {spectrum.edge}",
        "complete": spectrum.complete,
        "windows": windows(spectrum),
        "parameters": scalars(spectrum.parameters),
        "flags": list(spectrum.flags),
    }


def windows(spectrum: NormalisedSpectrum) -> list[Json]:
    """Return the energy ranges that the spectrum was normalised with, eV."""
    ranges = [
        ("pre-edge", "pre1", "pre2", spectrum.e0),
        ("post-edge", "norm1", "norm2", spectrum.e0),
        ("background", "background1", "background2", 0.0),  # of EELS: not counted from e0
        ("step", "step1", "step2", spectrum.e0),
    ]
    numbers = spectrum.parameters
    return [
        {"name": name, "from": begin + origin, "to": end + origin}
        for name, lo, hi, origin in ranges
        if isinstance(begin := numbers.get(lo), int | float)
        and isinstance(end := numbers.get(hi), int | float)
    ]


def answer_view(answer: Answer) -> Json:
    """Return the clusters and distributions of an answer."""
    return {
        "key": answer.key,
        "absorber": answer.absorber,
        **plain_figures(answer),
        "usual_misfit": answer.usual_misfit,
        **distributions(answer.estimates),
        "angles": angles_view(answer.samples, absorber=answer.absorber),
        "weights": plain(answer.samples.weights),
        "cluster": cluster_view(answer.samples, absorber=answer.absorber),
        "grid": plain(answer.grid),
        "condition": plain(answer.condition),
        "implied": plain(answer.implied),
        "flags": list(answer.flags),
        "provenance": provenance(answer),
    }


def provenance(answer: Answer) -> Json:
    """Return what made the answer."""
    return {
        "model": answer.model,
        "config": answer.config,
        "code": answer.code,
        "seed": answer.seed,
        "quality": answer.quality,
    }


def distributions(estimates: Estimates) -> Json:
    """Return what the samples say of coordination, bonds, angles and neighbours."""
    return {
        "cn_prob": plain(estimates.cn_prob),
        "sample_cn": plain(estimates.sample_cn),
        "sample_bond": plain(estimates.sample_bond),
        "sample_angle": plain(estimates.sample_angle),
        "rdf_r": plain(estimates.rdf_r),
        "rdf": {species: plain(values) for species, values in estimates.rdf.items()},
    }


def angles_view(samples: Samples, *, absorber: str) -> Json:
    """Return how the angles at the absorber are distributed over the samples, and the peaks."""
    found = angle_distribution(
        absorber, samples.species, samples.positions, weights=samples.weights
    )
    return {"x": plain(found.degrees), "share": plain(found.density), "peaks": list(found.peaks)}


def cluster_view(samples: Samples, *, absorber: str) -> Json:
    """Return the clusters in one orientation, the most typical one first, with its spread."""
    shown = nearest(heaviest(samples, SHOWN_SAMPLES), SHOWN_ATOMS)
    laid = overlay(shown)
    order = [laid.typical, *(k for k in range(len(laid.positions)) if k != laid.typical)]
    species, positions = shown.species[order], laid.positions[order]
    return {
        "absorber": absorber,
        "species": species.tolist(),
        "positions": plain(positions.round(4)),
        "bonded": first_shell(absorber, species, positions).tolist(),
        "spread": plain(laid.spread.round(4)),
        "samples": len(samples.weights),
    }


def heaviest(samples: Samples, count: int) -> Samples:
    """Return the samples of largest weight, in their own order."""
    if len(samples.weights) <= count:
        return samples
    chosen = np.sort(np.argsort(-samples.weights, kind="stable")[:count])
    weights = samples.weights[chosen]
    return Samples(
        species=samples.species[chosen],
        positions=samples.positions[chosen],
        weights=weights / weights.sum(),
    )


def nearest(samples: Samples, count: int) -> Samples:
    """Return the samples with their nearest atoms alone."""
    return Samples(
        species=samples.species[:, :count],
        positions=samples.positions[:, :count],
        weights=samples.weights,
    )


def plain(values: np.ndarray | None) -> np.ndarray | None:
    """Return an array that orjson can write."""
    return None if values is None else np.ascontiguousarray(values)


def shown_columns(columns: Mapping[str, Any], *, longest: int = 5000) -> dict[str, list[float]]:
    """Return the numeric columns (n,) as lists, those too long for a page left out."""
    arrays = {role: np.asarray(column) for role, column in columns.items()}
    return {
        role: array.astype(float).tolist()
        for role, array in arrays.items()
        if array.ndim == 1 and array.dtype.kind in "biuf" and len(array) <= longest
    }
