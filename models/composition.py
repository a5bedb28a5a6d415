"""Which elements are in the sample, from a formula or a list of symbols."""

import re
from collections import defaultdict
from collections.abc import Mapping
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
    return tuple(sorted(amounts_in(text)))


@lru_cache(maxsize=1024)
def amounts_in(text: str) -> Mapping[str, float]:
    """Return how many atoms of each element a formula holds; of a list of elements one each.

    Parameters and errors as for `elements_in`.

    Examples
    --------
    >>> amounts_in("CaSO4·2H2O")
    {'Ca': 1.0, 'S': 1.0, 'O': 6.0, 'H': 4.0}
    """
    from pymatgen.core.composition import Composition  # takes a second to import
    from pymatgen.core.periodic_table import Element

    if len(text) > _LONGEST:
        raise CompositionError(f"found {len(text)} characters, expected a formula such as Fe2O3")
    found: dict[str, float] = defaultdict(float)
    for part in _ADDED.split(re.sub(r"[,;]", " ", text)):
        try:
            leading = _AMOUNT.match(part)
            times = float(leading[0]) if leading else 1.0
            amounts = Composition(_AMOUNT.sub("", part)).get_el_amt_dict()
        except Exception as error:  # pymatgen raises of all kinds for what is no formula
            raise CompositionError(
                f"found {text!r}, expected a formula such as Fe2O3 or elements such as 'Fe O'"
            ) from error
        for symbol, amount in amounts.items():
            found["H" if symbol in ("D", "T") else symbol] += times * amount
    if not found or not all(map(Element.is_valid_symbol, found)):
        raise CompositionError(f"found no element in {text!r}, expected a formula such as Fe2O3")
    return dict(found)
