"""Take noise out of the spectra of a map by what they have in common."""

from dataclasses import dataclass, replace

import numpy as np

from nearedge.models.many_spectra import Spectra
from nearedge.models.maps.components import Components, components
from nearedge.models.normalise.many.evidence import has_glitches, noises
from nearedge.models.spectrum import Array, Technique

DENOISED = "denoised"
#: Fewer spectra have too little in common to tell noise from the rest.
LEAST = 16
#: eV over which the edge's height is averaged when it is judged.
_JUDGED = 8.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Denoised:
    """Spectra without what the threshold takes for noise.

    Attributes
    ----------
    spectra
        The spectra; as measured where a spectrum has glitches or was not measured as a whole.
    rank
        Components that were kept.
    """

    spectra: Spectra
    rank: int


def denoise(spectra: Spectra) -> Denoised:
    """Keep the principal components that stand out of the noise.

    Counts are weighed by their Poisson noise first (Keenan & Kotula, Surface and Interface Analysis
    36, 203, 2004). What is rare, such as a boundary of few pixels, may be lost with the noise.

    The noise that is left is no longer that between neighbouring points. Each spectrum carries
    what is expected of it: of the raw noise's square the share of components that are kept, and
    since that is alike over many points, what averaging over an edge would have taken off.

    Parameters
    ----------
    spectra
        Spectra on strictly increasing energies.

    Raises
    ------
    ValueError
        If fewer than `LEAST` spectra are whole.
    """
    noise = np.full(len(spectra), np.nan)
    whole = np.asarray(np.isfinite(spectra.mu).all(axis=1), dtype=bool)
    noise[whole] = noises(spectra.energy, spectra.mu[whole])
    whole[whole] = ~has_glitches(spectra.mu[whole], noise[whole])
    if whole.sum() < LEAST:
        raise ValueError(
            f"{int(whole.sum())} whole spectra; expected at least {LEAST} to tell noise from the "
            "rest: leave denoising out"
        )
    own = np.asarray(spectra.mu[whole], np.float64)
    scale = _poisson_scale(own) if spectra.technique is Technique.EELS else np.ones((1, 1))
    found = components(own / scale)
    mu = np.array(spectra.mu, np.float64)
    mu[whole] = found.rebuilt(found.scores(own / scale)) * scale
    noise[whole] *= left_over(found, spectra.energy)
    return Denoised(
        spectra=replace(
            spectra, mu=mu, noise=noise, flags=tuple(dict.fromkeys((*spectra.flags, DENOISED)))
        ),
        rank=found.rank,
    )


def _poisson_scale(counts: Array) -> Array:
    """Return the size (p, n) of the noise of counts, up to a factor."""
    spectrum = np.maximum(counts.mean(axis=0), 0.0)
    image = np.maximum(counts.mean(axis=1), 0.0)
    spectrum = np.maximum(spectrum, 1e-3 * spectrum.max())
    image = np.maximum(image, 1e-3 * image.max())
    scale = np.sqrt(image[:, None] * spectrum / max(float(image.mean()), 1e-300))
    return np.where(scale > 0, scale, 1.0)


def left_over(found: Components, energy: Array) -> float:
    """Return the part of a point's noise that is left in the judgement of an edge, at most 1."""
    together = max(_JUDGED / float(np.median(np.diff(energy))), 1.0)
    return float(np.sqrt(min(1.0, max(found.rank, 1) * together / len(energy))))
