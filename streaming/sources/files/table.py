"""Named columns of one spectrum, as a file holds them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from nearedge.models import Array, Technique

DOUBT = "nearedge.doubt"
"""Key of a header under which a reader says what may be wrong with the columns."""


class UnreadableFileError(ValueError):
    """A file is not in the form that it claims or that can be read."""


class NoEnergyError(UnreadableFileError):
    """Columns without energies, such as those of an alignment scan."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Columns of one spectrum.

    Attributes
    ----------
    columns
        The (n,) values of each name of the file, NaN where a cell holds no number.
    name
        The name of the spectrum within its file; empty where the file holds one.
    units
        The unit of each name, where the file states one.
    header
        What else the file says, keys in lower case.
    technique
        What the form of the file implies, or None.
    complete
        False where the file announces more rows than it holds, or its last row is cut.
    flags
        Short words on how it was measured.
    """

    columns: dict[str, Array]
    name: str = ""
    units: dict[str, str] = field(default_factory=dict)
    header: dict[str, str] = field(default_factory=dict)
    technique: Technique | None = None
    complete: bool = True
    flags: tuple[str, ...] = ()


def named(names: Sequence[str], columns: Sequence[Array]) -> dict[str, Array]:
    """Return columns by name; a name that comes again gets a number."""
    found: dict[str, Array] = {}
    for name, column in zip(names, columns, strict=True):
        free, count = name, 1
        while free in found:
            count += 1
            free = f"{name}_{count}"
        found[free] = column
    return found
