"""Crystals of the American Mineralogist Crystal Structure Database, as `larixite` brings them."""

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearedge.sim.prototypes import formula_of, prototype_of
from nearedge.sim.sites import Named

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure

logger = logging.getLogger(__name__)

#: Larger cells are passed over.
MOST_ATOMS = 300
#: Structures with atoms nearer to each other than this, Å, are passed over.
OVERLAP = 0.5
#: Structures solved before this year are too often wrong.
EARLIEST = 1945
#: Titles of structures away from room conditions.
_EXTREME = re.compile(
    r"T\s*=\s*-?\d|P\s*=\s*\d|\bGPa\b|\bkbar|\bkb\b|deg\s*[CK]|pressure|temperature|\d+\s*K\b|heated",
    re.IGNORECASE,
)
_LABELS = re.compile(r"^(Wat?|WAT|wat|Ow|OW|OH|Oh|O-H)(?=\d|\s|$)", re.MULTILINE)


def require_larixite() -> None:
    """Raise a `ValueError` that says what to do where larixite is not installed."""
    if find_spec("larixite") is None:
        raise ValueError(
            "the package larixite is not installed, and it brings the structures of AMCSD: "
            "pip install 'nearedge[amcsd]'"
        )


def amcsd_structures(
    absorbers: Sequence[str], *, among: Sequence[str] = (), most_atoms: int = MOST_ATOMS
) -> list[Named]:
    """Return the ordered crystals that hold one of the absorbers, one for each kind.

    Of several of one formula and space group the one at room conditions, and of these the most
    recent, is taken. The family is the mineral, or the formula, with the prototype.

    Parameters
    ----------
    absorbers
        Their symbols.
    among
        Crystals that hold another element than these are passed over, hydrogen counting as one;
        empty: none is.
    most_atoms
        Cells with more are passed over.

    Raises
    ------
    ValueError
        If larixite is not installed.
    """
    require_larixite()
    best: dict[tuple[str, str], tuple[tuple[bool, int], Named]] = {}
    allowed = frozenset(among)
    for entry in _entries(absorbers):
        structure = _structure(entry, among=allowed, most_atoms=most_atoms)
        if structure is None:
            continue
        named, rank = _named(entry, structure), _rank(entry)
        key = (formula_of(structure), str(entry.hm_symbol))
        if key not in best or rank < best[key][0]:
            best[key] = rank, named
    return [named for _, named in best.values()]


@contextmanager
def opened_amcsd() -> Iterator[Any]:
    """Yield larixite's database, closed at the end of the block: larixite leaves it open."""
    import larixite
    from larixite.amcsd import AMCSD

    database = AMCSD(str(Path(larixite.__file__).parent / "amcsd_cif1.db"), read_only=True)
    try:
        yield database
    finally:
        database.close()
        database.conn.close()
        database.engine.dispose()


def _entries(absorbers: Sequence[str]) -> Iterator[Any]:
    """Give the database's entries with an absorber and full occupancy, each once."""
    seen = set()
    with opened_amcsd() as database:
        for absorber in absorbers:
            for entry in database.find_cifs(
                contains_elements=[absorber], full_occupancy=True, max_matches=10**6
            ):
                if entry.ams_id not in seen and _year(entry) >= EARLIEST:
                    seen.add(entry.ams_id)
                    yield entry


def _year(entry: Any) -> int:
    return int(entry.publication.year or 0)


def _rank(entry: Any) -> tuple[bool, int]:
    """Sort room conditions and recent years first."""
    return bool(_EXTREME.search(f"{entry.pub_title} {entry.compound}")), -_year(entry)


def _structure(entry: Any, *, among: frozenset[str], most_atoms: int) -> "Structure | None":
    """Read an entry; None where pymatgen cannot, or it cannot be used or holds something else."""
    from io import StringIO

    from pymatgen.io.cif import CifParser

    text = _LABELS.sub("O", entry.ciftext)  # the labels of water and hydroxyl are no elements
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = CifParser(StringIO(text), occupancy_tolerance=1.05).parse_structures(
                primitive=False
            )[0]
        except Exception as error:  # pymatgen raises of all kinds
            logger.info("AMCSD %s: %s", entry.ams_id, error)
            return None
    if among and set(found.symbol_set) - among:
        return None
    found.remove_species([s for s in ("H", "D") if s in found.symbol_set])
    usable = found.is_ordered and 0 < len(found) <= most_atoms and found.is_valid(OVERLAP)
    return found if usable else None


def _named(entry: Any, structure: "Structure") -> Named:
    prototype, formula = prototype_of(structure), formula_of(structure)
    mineral = str(entry.mineral.name).replace("<missing>", "") or formula
    return Named(
        key=f"amcsd-{entry.ams_id}",
        family=f"{mineral} {prototype}".strip(),
        source=f"AMCSD {entry.ams_id} ({entry.publication.journalname} {_year(entry)})",
        structure=structure,
        group="amcsd",
        prototype=prototype,
        formula=formula,
    )
