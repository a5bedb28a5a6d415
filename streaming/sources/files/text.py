"""Read text files: XDI, EMSA/MSPEC, the 9809 form of Japanese beamlines, and columns."""

import re
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from nearedge.models import Array, Technique
from nearedge.streaming.sources.files.cells import Style, numbers
from nearedge.streaming.sources.files.headings import fields_of, is_xdi, read_heading
from nearedge.streaming.sources.files.rows import Rows, lines_of, read_rows
from nearedge.streaming.sources.files.table import DOUBT, Table, UnreadableFileError, named

# what a 9809 file's line "Mode" says of a detector
_MODES = {"1": "i0", "2": "it", "3": "if", "101": "resets", "103": "icr"}


def read_text(text: str) -> Table:
    """Read the text of any form into named columns.

    Raises
    ------
    UnreadableFileError
        A header or a row makes no sense; the line is named.
    """
    lines = lines_of(text)
    first = next((line.strip() for line in lines if line.strip()), "")
    if first.replace(" ", "").upper().startswith("#FORMAT:EMSA") or "#SPECTRUM" in text:
        return read_msa(text)
    if first.startswith("9809"):
        return _read_9809(lines)
    return _read_columns(read_rows(lines))


def _read_columns(rows: Rows) -> Table:
    heading = read_heading(rows)
    columns = list(rows.values.T)
    while len(columns) > max(2, len(heading.names)) and np.isnan(columns[-1]).all():
        columns.pop()  # delimiters that end the lines
    width = len(columns)
    unnamed = [f"column {n}" for n in range(1, width + 1)] if width > 2 else ["energy", "mu"]
    return Table(
        columns=named(heading.names or unnamed, columns),
        units=heading.units,
        header=heading.fields | _doubt(rows, named=bool(heading.names)),
        technique=Technique.XANES if is_xdi(rows.header) else None,
        complete=rows.complete,
    )


def _doubt(rows: Rows, *, named: bool) -> dict[str, str]:
    """Return what may explain columns that are not found."""
    if not named and rows.style.delimiter == "," and (rows.values % 1 == 0).all():
        text = "all are whole numbers with commas between them: part decimal commas by tabs or ';'"
        return {DOUBT: text}
    if find_spec("larch") is None:
        return {DOUBT: "Larch knows more headers: pip install 'nearedge[files]'"}
    return {}


def _read_9809(lines: Sequence[str]) -> Table:
    """Read angles and counts of the Photon Factory's and SPring-8's step scans."""
    begin = next((n for n, line in enumerate(lines) if line.split()[:1] == ["Offset"]), None)
    spacing = re.search(r"\bD\s*=\s*([\d.]+)", "\n".join(lines[:begin]))
    if begin is None or spacing is None:
        raise UnreadableFileError("a 9809 file without the lines 'Mono : … D=' and 'Offset'")
    rows = read_rows(lines[begin + 1 :])
    modes = next((line.split()[1:] for line in lines[:begin] if line.split()[:1] == ["Mode"]), [])
    roles = _numbered([_MODES.get(mode, "") for mode in modes[2:]])
    count = rows.values.shape[1]
    given = ["angle_set", "angle", "time", *roles][:count]
    names = [name or f"column {n}" for n, name in enumerate(given, start=1)]
    names += [f"column {n}" for n in range(len(names) + 1, count + 1)]
    header = fields_of(lines[:begin]) | {"mono.d_spacing": spacing[1]}
    return Table(columns=named(names, list(rows.values.T)), header=header, complete=rows.complete)


def _numbered(roles: Sequence[str]) -> list[str]:
    """Return names with numbers where several detectors have one: the elements of one."""
    seen = Counter[str]()
    found = []
    for role in roles:
        seen[role] += 1
        found.append(f"{role}_{seen[role]}" if role and roles.count(role) > 1 else role)
    return found


def read_msa(text: str) -> Table:
    """Read the text of an EMSA/MSPEC file (ISO 22029) into columns ``energy`` and ``spectrum``.

    Raises
    ------
    UnreadableFileError
        The header lacks what gives the energies, or a line is no row of numbers.
    """
    head, _, body = text.partition("#SPECTRUM")
    header = fields_of([line.strip() for line in lines_of(head) if line.strip().startswith("#")])
    above = len(lines_of(head))
    lines = lines_of(body.partition("#ENDOFDATA")[0])[1:]
    rows = [_counts(line, above + n) for n, line in enumerate(lines, start=1)]
    if header.get("datatype", "Y").upper() == "XY":
        energy, counts = _pairs([row for row in rows if row])
    else:
        counts = np.array([value for row in rows for value in row], dtype=np.float64)
        channel = np.arange(len(counts), dtype=np.float64) + _number(header, "choffset", 0.0)
        energy = _number(header, "offset") + _number(header, "xperchan") * channel
    if not len(counts):
        raise UnreadableFileError("no rows of numbers below #SPECTRUM")
    return Table(
        columns={"energy": energy, "spectrum": counts},
        units={"energy": header.get("xunits", "")},
        header=header,
        technique=Technique.EELS,
        complete=len(counts) >= int(_number(header, "npoints", float(len(counts)))),
    )


def _counts(line: str, number: int) -> list[float]:
    """Return the numbers of a line of an EMSA/MSPEC file, which commas may part and end."""
    if not line.strip() or line.lstrip().startswith("#"):
        return []
    style = Style("," if "," in line else None)
    found = numbers(line.strip().rstrip(","), style)
    if found is None:
        raise UnreadableFileError(f"line {number} is {line.strip()[:60]!r}; expected some numbers")
    return found


def _pairs(rows: Sequence[Sequence[float]]) -> tuple[Array, Array]:
    if {len(row) for row in rows} != {2}:
        raise UnreadableFileError("DATATYPE is XY; expected two numbers a line")
    energy, counts = np.array(rows).T
    return energy, counts


def _number(header: dict[str, str], key: str, default: float | None = None) -> float:
    value = header.get(key)
    if value is None and default is not None:
        return default
    try:
        number = float(value or "")
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        found = "no" if value is None else repr(value) + " as"
        raise UnreadableFileError(f"{found} {key.upper()} in the header; expected a number")
    return number
