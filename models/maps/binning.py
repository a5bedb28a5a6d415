"""Put neighbouring pixels of a map together."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nearedge.models.many_spectra import Spectra
from nearedge.models.spectrum import Array, Technique

BINNED = "binned"


def binned_shape(shape: Sequence[int], by: int) -> tuple[int, ...]:
    """Return the shape of a map whose pixels are put together by ``by`` along each axis."""
    return tuple(-(-size // by) for size in shape)


def bin_pixels(spectra: Spectra, shape: Sequence[int], by: int) -> Spectra:
    """Add counts, or average absorption, over blocks of pixels.

    Pixels at the far ends that fill no whole block make a smaller one. A reading that is not finite
    is passed over; the block's other pixels stand for it. The noise of what comes out is estimated
    from it, as that of every spectrum, so that it is less by the square root of the pixels.

    Parameters
    ----------
    spectra
        (p, n) of all pixels, in the order of the map's shape.
    shape
        The shape of the map.
    by
        Pixels along each axis.

    Raises
    ------
    ValueError
        If there are not as many spectra as pixels.
    """
    if len(spectra) != int(np.prod(shape)):
        raise ValueError(f"{len(spectra)} spectra; expected one for each pixel of {tuple(shape)}")
    total, count = (
        _added(part.reshape(*shape, -1), by)
        for part in (np.nan_to_num(spectra.mu, posinf=0.0, neginf=0.0), np.isfinite(spectra.mu))
    )
    pixels = _added(np.ones((*shape, 1)), by)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(count > 0, total / count, np.nan)
    out = mean * pixels if spectra.technique is Technique.EELS else mean
    return replace(
        spectra,
        mu=out.reshape(-1, out.shape[-1]),
        flags=tuple(dict.fromkeys((*spectra.flags, BINNED))),
        reference=_of_all(spectra.reference, shape, by),
        low_loss=_of_all(spectra.low_loss, shape, by),
    )


def _of_all(part: Array | None, shape: Sequence[int], by: int) -> Array | None:
    if part is None:
        return None
    added = _added(part.reshape(*shape, -1), by) / _added(np.ones((*shape, 1)), by)
    return np.asarray(added.reshape(-1, added.shape[-1]))


def _added(values: Array, by: int) -> Array:
    out = np.asarray(values, np.float64)
    for axis in range(values.ndim - 1):
        out = np.add.reduceat(out, np.arange(0, out.shape[axis], by), axis=axis)
    return out
