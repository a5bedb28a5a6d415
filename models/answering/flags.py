"""What a reader of an answer should know, in short words."""

from collections.abc import Iterable, Sequence

from nearedge.models.spectrum import NormalisedSpectrum


def flags_of(
    spectrum: NormalisedSpectrum,
    *,
    species: Iterable[str],
    outlier: bool,
    unexplained: bool = False,
    damped: bool = False,
    numbers: Sequence[int] = (),
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
    numbers
        The coordination numbers of the answer's 90 % set.
    """
    other = " ".join(sorted(set(spectrum.elements) - {*species, spectrum.absorber, "H"}))
    own = {
        "out-of-distribution": outlier,
        "not-explained": unexplained,
        # a part of a scan leaves most things open, and says that it is a part
        "cn-undecided": spectrum.complete and len(numbers) > 1,
        "partial": not spectrum.complete,
        "maybe-self-absorbed": damped,
        f"other-elements: {other}": bool(other),
    }
    found = (name for name, holds in own.items() if holds)
    return tuple(dict.fromkeys([*spectrum.flags, *found]))
