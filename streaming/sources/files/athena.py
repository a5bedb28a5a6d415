"""Read every group of an Athena project, through Larch."""

import gzip
import io
import json
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from nearedge.streaming.sources.files.table import Table, UnreadableFileError

TITLE = "Athena project file"
LARGEST = 256 * 2**20  # bytes of a project, unpacked
_NO_ABSORPTION = {
    "is_chi": "chi(k), an EXAFS signal without its edge",
    "is_bkg": "a background",
    "is_diff": "a difference spectrum",
    "is_rsp": "chi(R)",
    "is_qsp": "chi(q)",
    "is_pixel": "a spectrum over pixels",
}


def project_text(path: Path) -> str | None:
    """Return the text of an Athena project, packed by gzip or not; None: it is none."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            data = file.read(LARGEST)
    except (OSError, EOFError):
        return None
    text = data.decode("utf-8", errors="replace")
    return text if TITLE in text[:500] else None


def read_project(text: str) -> Iterator[Table | UnreadableFileError]:
    """Yield each group of a project, or why there is no absorption in it.

    Larch reads one group at a time, so that two groups of one label are two.

    Raises
    ------
    UnreadableFileError
        If Larch is not installed, or the project holds no group.
    """
    try:
        from larch.io.athena_project import parse_jsonathena, parse_perlathena
    except ImportError:
        raise UnreadableFileError(
            "an Athena project; to read it install what reads it: pip install 'nearedge[files]'"
        ) from None
    as_json = "____header" in text[:500]
    records = list(_records_of_json(text) if as_json else _records_of_perl(text))
    if not records:
        raise UnreadableFileError("an Athena project without a group; save it again with groups")
    parse = parse_jsonathena if as_json else parse_perlathena
    for number, record in enumerate(records, start=1):
        yield _group(record, parse, number)


def _records_of_perl(text: str) -> Iterator[str]:
    head, _, body = text.partition("\n")
    *records, _ = body.split("\n[record]")
    for record in records:
        yield f"{head}\n{record}\n[record] #\n"


def _records_of_json(text: str) -> Iterator[str]:
    try:
        project = json.loads(text)
    except ValueError as error:
        raise UnreadableFileError(f"an Athena project that is no JSON: {error}") from error
    for name in project.get("_____order", []):
        one = {"_____journal": "", "_____order": [name], name: project.get(name)}
        yield json.dumps(one)


def _group(
    record: str, parse: Callable[[str, str], Any], number: int
) -> Table | UnreadableFileError:
    try:
        with redirect_stdout(io.StringIO()):  # Larch remarks on what it ignores
            read = parse(record, "project")
        group = getattr(read, read.group_names[0])
        return _table(group, str(getattr(group, "label", number)))
    except UnreadableFileError as error:
        return error
    except Exception as error:  # whatever Larch meets in one group must not lose the others
        return UnreadableFileError(f"group {number}: {type(error).__name__}: {error}")


def _table(group: Any, label: str) -> Table:
    settings = group.athena_params
    for key, what in _NO_ABSORPTION.items():
        if int(float(getattr(settings, key, 0) or 0)):
            raise UnreadableFileError(f"{label}: {what}; expected absorption mu(E)")
    energy, mu = np.asarray(group.energy, float), np.asarray(group.mu, float)
    if energy.shape != mu.shape:
        raise UnreadableFileError(f"{label}: {len(energy)} energies for {len(mu)} values of mu")
    shift = float(getattr(settings.bkg, "eshift", 0.0) or 0.0)
    header = {"label": label, "energy_shift": f"{shift:g}"}
    symbol, edge = str(getattr(settings.bkg, "z", "")), str(getattr(settings.fft, "edge", ""))
    # Athena's own default for both stands for "not told"
    if symbol.isalpha() and len(symbol) < 3 and symbol not in ("H", "h"):
        header |= {"element.symbol": symbol.capitalize(), "element.edge": edge.upper() or "K"}
    return Table(
        columns={"energy": energy + shift, "mu": mu},
        name=label,
        units={"energy": "eV"},
        header=header,
    )
