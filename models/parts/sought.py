"""What clusters should agree with: a reading of one spectrum, calibrated."""

from dataclasses import dataclass

from nearedge.models.spectrum import Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sought:
    """What clusters should agree with.

    Attributes
    ----------
    absorber
        Symbol.
    cn, kind
        Probabilities of the coordination numbers and of the kinds of ligands.
    bond, cosine
        Mean and standard deviation, Å and cosine.
    radii
        (`RANKS`, 2) distances of the nearest atoms beyond the mean bond and their standard
        deviations, Å.
    held
        Symbols of what the sample holds; empty where not known.
    """

    absorber: str
    cn: Array
    kind: Array
    bond: tuple[float, float]
    cosine: tuple[float, float]
    radii: Array
    held: tuple[str, ...] = ()
