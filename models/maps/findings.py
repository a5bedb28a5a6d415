"""What is found in a whole map: its groups, and the spectra that stand for them."""

from dataclasses import dataclass

from nearedge.models.maps.groups import Groups
from nearedge.models.maps.representative import Representative


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapFindings:
    """Groups of like pixels.

    Attributes
    ----------
    groups
        Which pixel is in which, in the order in which they lie in the map.
    representatives
        What stands for each, the largest group first.
    """

    groups: Groups
    representatives: tuple[Representative, ...]
