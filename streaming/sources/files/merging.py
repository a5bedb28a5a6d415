"""The scans of one file as one spectrum, for who says that they are repeats."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nearedge.callbacks.agreement import FEWEST, agreement
from nearedge.callbacks.merging import shared_axis
from nearedge.models import Array, Reason, Rejected, Spectrum
from nearedge.streaming.sources.files.reader import FileSpectrum


def merged(read: Sequence[FileSpectrum]) -> list[FileSpectrum]:
    """Average the spectra of one edge that a file holds, where they agree.

    Parameters
    ----------
    read
        All spectra of a file, rejected ones included.

    Returns
    -------
    list of FileSpectrum
        One for each edge, in the place of its first scan, and what was rejected. Scans that are no
        repeats of one spectrum become one rejected entry.
    """
    kinds: dict[object, list[FileSpectrum]] = {}
    for number, one in enumerate(read):
        kinds.setdefault(_kind(one) or number, []).append(one)
    return [_merged(scans) if len(scans) > 1 else scans[0] for scans in kinds.values()]


def _kind(one: FileSpectrum) -> tuple[str, ...] | None:
    """Return what repeats have in common; None for what is no spectrum."""
    if isinstance(one.spectrum, Rejected):
        return None
    return (one.spectrum.absorber, one.spectrum.edge, one.spectrum.technique, one.signal or "")


def _merged(scans: Sequence[FileSpectrum]) -> FileSpectrum:
    spectra = [one.spectrum for one in scans if isinstance(one.spectrum, Spectrum)]
    label = scans[0].id.partition("#")[0]
    name = f"{label}#mean of {len(spectra)} scans"
    refusal = _refusal(scans, spectra)
    return replace(scans[0], id=name, spectrum=refusal or _mean(spectra))


def _refusal(scans: Sequence[FileSpectrum], spectra: Sequence[Spectrum]) -> Rejected | None:
    axis = _shared(spectra)
    if len(axis) < FEWEST:
        found = f"the {len(spectra)} scans share {len(axis)} energies, too few to compare them"
    else:
        compared = agreement([(one.energy, one.mu) for one in spectra])
        if compared.alike:
            return None
        odd = scans[compared.repeat].id
        found = (
            f"the {len(spectra)} scans are no repeats: {odd} differs from the others by "
            f"{compared.difference:.1%} of the edge step"
        )
    return Rejected(
        reason=Reason.UNLIKE, detail=f"{found}; invert them one by one, without --merge"
    )


def _shared(spectra: Sequence[Spectrum]) -> Array:
    """Return the energies of the first scan that all scans cover."""
    return shared_axis(spectra[0].energy, [one.energy for one in spectra])


def _mean(spectra: Sequence[Spectrum]) -> Spectrum:
    axis = _shared(spectra)
    foils = [one.reference for one in spectra if one.reference is not None]
    return replace(
        spectra[0],
        energy=axis,
        mu=np.mean([_at(axis, one.energy, one.mu) for one in spectra], axis=0),
        reference=None
        if len(foils) < len(spectra)
        else np.mean([_at(axis, s.energy, r) for s, r in zip(spectra, foils, strict=True)], axis=0),
        complete=all(one.complete for one in spectra),
        flags=tuple(sorted({flag for one in spectra for flag in one.flags})),
    )


def _at(axis: Array, energy: Array, signal: Array) -> Array:
    good = np.isfinite(energy) & np.isfinite(signal)
    order = np.argsort(energy[good], kind="stable")
    return np.asarray(np.interp(axis, energy[good][order], signal[good][order]))
