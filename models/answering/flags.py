"""What a reader of an answer should know, in short words."""

from collections.abc import Iterable

from nearedge.models.spectrum import NormalisedSpectrum


def flags_of(
    spectrum: NormalisedSpectrum,
    *,
    species: Iterable[str],
    outlier: bool,
    unexplained: bool = False,
    damped: bool = False,
) -> tuple[str, ...]:
    """Return the spectrum's flags and the answer's own, each once.

    Parameters
    ----------
    spectrum
        The spectrum that was inverted.
    species
        The elements that the model knows as neighbours.
    outlier
        Whether the spectrum is unlike what the model learned.
    unexplained
        Whether the clusters of the answer do not explain it.
    damped
        Whether it looks like that of its own clusters, damped by self-absorption.
    """
    other = " ".join(sorted(set(spectrum.elements) - {*species, spectrum.absorber, "H"}))
    own = {
        "out-of-distribution": outlier,
        "not-explained": unexplained,
        "partial": not spectrum.complete,
        "maybe-self-absorbed": damped,
        f"other-elements: {other}": bool(other),
    }
    found = (name for name, holds in own.items() if holds)
    return tuple(dict.fromkeys([*spectrum.flags, *found]))
