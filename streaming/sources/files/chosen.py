"""Columns that a user names after ``--columns``."""

from collections.abc import Mapping
from typing import TypeAlias

Chosen: TypeAlias = Mapping[str, tuple[str, ...]]
"""For each role the names of its columns, or their numbers from 1."""

ROLES = ("energy", "angle", "i0", "it", "ir", "if", "icr", "ocr", "mu", "spectrum")
SEVERAL = ("if", "icr", "ocr")


def parse_columns(text: str) -> Chosen:
    """Read what a user says of columns, ``energy=1,i0=2,it=3``, by number or name.

    Raises
    ------
    ValueError
        If a role is not known, or comes twice though it takes one column.
    """
    found: dict[str, tuple[str, ...]] = {}
    for pair in text.split(","):
        role, equals, name = (part.strip() for part in pair.partition("="))
        if role not in ROLES or not equals or not name:
            raise ValueError(
                f"--columns: found {pair.strip()!r}; expected ROLE=NUMBER or ROLE=NAME, as in "
                f"energy=1,i0=2,it=3 or if=4+5+6, with a role of {', '.join(ROLES)}"
            )
        names = tuple(part.strip() for part in name.split("+"))
        if (role in found or len(names) > 1) and role not in SEVERAL:
            raise ValueError(f"--columns: {role} comes twice; expected one column for it")
        found[role] = (*found.get(role, ()), *names)
    return found
