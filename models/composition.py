"""Which elements are in the sample, from a formula or a list of symbols."""

import re
from functools import lru_cache

_ADDED = re.compile(r"[·•∙*]")  # what a formula adds: water of crystallisation
_AMOUNT = re.compile(r"^\s*[\d.]+\s*")
_LONGEST = 500


class CompositionError(ValueError):
    """A text that is no formula and no list of elements."""


@lru_cache(maxsize=1024)
def elements_in(text: str) -> tuple[str, ...]:
    """Return the chemical symbols in a formula or list of elements, sorted; deuterium is ``H``.

    Parameters
    ----------
    text
        ``Fe2O3``, ``CaSO4·2H2O``, ``Cu3(CO3)2(OH)2``, ``Fe0.95O``, or symbols separated by commas,
        semicolons or blanks: ``Fe, O``.

    Raises
    ------
    CompositionError
        If pymatgen cannot read it.

    Examples
    --------
    >>> elements_in("CaSO4·2H2O")
    ('Ca', 'H', 'O', 'S')
    """
    from pymatgen.core.composition import Composition  # takes a second to import
    from pymatgen.core.periodic_table import Element

    if len(text) > _LONGEST:
        raise CompositionError(f"found {len(text)} characters, expected a formula such as Fe2O3")
    found: set[str] = set()
    for part in _ADDED.split(re.sub(r"[,;]", " ", text)):
        try:
            amounts = Composition(_AMOUNT.sub("", part)).get_el_amt_dict()
        except Exception as error:  # pymatgen raises of all kinds for what is no formula
            raise CompositionError(
                f"found {text!r}, expected a formula such as Fe2O3 or elements such as 'Fe O'"
            ) from error
        found |= {"H" if symbol in ("D", "T") else symbol for symbol in amounts}
    if not found or not all(map(Element.is_valid_symbol, found)):
        raise CompositionError(f"found no element in {text!r}, expected a formula such as Fe2O3")
    return tuple(sorted(found))
