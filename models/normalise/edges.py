"""Where the absorption edges of the elements lie, from the table of xraydb."""

import json
from functools import cache
from importlib.resources import files

#: How far an edge may lie from its table value, eV, before it is taken for another edge. The O K
#: edge of oxides lies 8 to 13 eV below it; of 27 measured scans of compounds the oxide of trivalent
#: iron lies furthest above, by 14 eV. EELS adds the error of a spectrometer's offset.
XANES_TOLERANCE = 25.0
EELS_TOLERANCE = 40.0
#: A monochromator that was never calibrated is wrong by up to this part of its energy.
UNCALIBRATED = 0.002
#: How far bonds move an edge, eV; what lies farther off points to the axis.
SHIFT = 20.0


def xanes_tolerance(energy: float) -> float:
    """Return how far the XANES edge at ``energy`` eV may lie from there, eV.

    Examples
    --------
    >>> xanes_tolerance(1839.0), xanes_tolerance(16105.0)
    (25.0, 52.21)
    """
    return max(XANES_TOLERANCE, SHIFT + UNCALIBRATED * energy)


def eels_tolerance(energy: float) -> float:
    """Return how far the EELS edge at ``energy`` eV may lie from there, eV."""
    return EELS_TOLERANCE


@cache
def edge_table() -> dict[str, dict[str, float]]:
    """Return the table energies in eV, by element and edge."""
    text = files("nearedge.models.normalise").joinpath("edges.json").read_text()
    table: dict[str, dict[str, float]] = json.loads(text)["edges"]
    return table


def edge_energy(absorber: str, edge: str) -> float:
    """Return the table energy of an edge in eV.

    Raises
    ------
    KeyError
        The table has no such element or edge.

    Examples
    --------
    >>> edge_energy("Si", "K")
    1839.0
    """
    table = edge_table()
    if absorber not in table:
        raise KeyError(f"no element {absorber!r}: expected a symbol from Li to Cf, such as 'Si'")
    if edge not in table[absorber]:
        known = ", ".join(table[absorber])
        raise KeyError(f"no edge {edge!r} of {absorber}: expected one of {known}")
    return table[absorber][edge]


def nearest_edge(e0: float) -> tuple[str, str]:
    """Return the element and edge, K or L, whose table energy is nearest to ``e0`` in eV.

    Examples
    --------
    >>> nearest_edge(7112.5)
    ('Fe', 'K')
    """
    named = (
        (abs(energy - e0), absorber, edge)
        for absorber, edges in edge_table().items()
        for edge, energy in edges.items()
        if edge[0] in "KL"
    )
    _, absorber, edge = min(named)
    return absorber, edge
