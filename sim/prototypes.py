"""What kind of crystal a structure is, and which formulas are kept out of a data set."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure


def prototype_of(structure: "Structure") -> str:
    """Return the prototype: anonymous formula, Pearson symbol, space group, Wyckoff positions.

    Crystals that differ only in elements and dimensions have the same one: pyrite's is
    ``AB2_cP12_205_a_c``. Hydrogen, which few structures list, is left out. Empty where no symmetry
    is found.
    """
    from pymatgen.analysis.prototypes import (
        get_protostructure_label_from_spglib,
        get_prototype_from_protostructure,
    )

    heavy = structure.copy()
    heavy.remove_species(["H", "D"] if "D" in heavy.symbol_set else ["H"])
    with warnings.catch_warnings():  # spglib's, of how pymatgen calls it
        warnings.simplefilter("ignore")
        try:
            label = get_protostructure_label_from_spglib(heavy, raise_errors=True)
            return str(get_prototype_from_protostructure(label))
        except Exception:  # spglib and pymatgen raise of all kinds for unusual cells
            return ""


def formula_of(structure: "Structure") -> str:
    """Return the reduced formula without hydrogen.

    Examples
    --------
    >>> reduced_formula("FeO2H") == reduced_formula("Fe2 O4")
    True
    """
    return reduced_formula(structure.composition.formula)


def reduced_formula(text: str) -> str:
    """Return a formula in its reduced form without hydrogen; empty where nothing is left.

    Raises
    ------
    ValueError
        If pymatgen cannot read it.
    """
    from pymatgen.core.composition import Composition

    amounts = Composition(text).get_el_amt_dict()
    heavy = {symbol: n for symbol, n in amounts.items() if symbol not in ("H", "D")}
    return str(Composition(heavy).reduced_formula) if heavy else ""


def read_formulas(path: Path | None) -> frozenset[str]:
    """Read a file of formulas, a line each, whose structures are left out; ``#`` is a comment.

    Raises
    ------
    ValueError
        If a line is no formula.
    """
    found = set()
    for line in path.read_text().splitlines() if path else ():
        if text := line.partition("#")[0].strip():
            try:
                found.add(reduced_formula(text))
            except ValueError as error:
                raise ValueError(
                    f"{path}: found {text!r}, expected a formula such as Fe2O3: {error}"
                ) from error
    return frozenset(found)
