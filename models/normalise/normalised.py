"""What an edge fit makes of a spectrum, whatever the technique."""

from collections.abc import Iterable, Mapping

import numpy as np

from nearedge.models.normalise.energies import CleanSpectrum
from nearedge.models.normalise.pre_edge import EdgeFit
from nearedge.models.spectrum import NormalisedSpectrum, Spectrum


def normalised(
    spectrum: Spectrum,
    cleaned: CleanSpectrum,
    fit: EdgeFit,
    *,
    shift: float,
    parameters: Mapping[str, float | str],
    flags: Iterable[str],
) -> NormalisedSpectrum:
    """Return a normalised spectrum, with each flag once.

    Parameters
    ----------
    spectrum, cleaned
        The spectrum as measured, and on its axis of increasing energies.
    fit
        Its edge.
    shift
        eV that were added to the energies.
    parameters
        The numbers that made it.
    flags
        The flags of the fit; those of the measurement and of the axis come first.
    """
    return NormalisedSpectrum(
        energy=cleaned.energy,
        mu=np.ascontiguousarray(cleaned.columns[:, 0]),
        norm=fit.norm,
        flat=fit.flat,
        e0=fit.e0,
        edge_step=fit.edge_step,
        technique=spectrum.technique,
        absorber=spectrum.absorber,
        edge=spectrum.edge,
        energy_shift=shift,
        complete=spectrum.complete,
        parameters=dict(parameters),
        flags=tuple(dict.fromkeys((*spectrum.flags, *cleaned.flags, *flags))),
    )
