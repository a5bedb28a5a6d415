"""Chemical symbols and atomic numbers."""

import numpy as np

SYMBOLS = np.array(
    (
        "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge "
        "As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm "
        "Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U "
        "Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
    ).split()
)
"""The symbol of each atomic number; X, number 0, is no atom."""

_NUMBERS = {str(symbol): number for number, symbol in enumerate(SYMBOLS)} | {"": 0}


def numbers_of(symbols: np.ndarray) -> np.ndarray:
    """Return atomic numbers, uint8 and of the same shape; an empty symbol is number 0.

    Raises
    ------
    ValueError
        If a symbol is no element.
    """
    found, inverse = np.unique(np.asarray(symbols, str), return_inverse=True)
    if unknown := [str(s) for s in found if str(s) not in _NUMBERS]:
        raise ValueError(f"{unknown} are no chemical symbols")
    numbers = np.array([_NUMBERS[str(s)] for s in found], np.uint8)
    return numbers[inverse].reshape(np.shape(symbols))


def symbols_of(numbers: np.ndarray) -> np.ndarray:
    """Return the symbols of atomic numbers, in the same shape."""
    return SYMBOLS[np.asarray(numbers, int)]
