"""Read the text of XDI, EMSA/MSPEC and plain column files into named columns."""

from dataclasses import dataclass, field

import numpy as np

from nearedge.models import Array, Technique

_COMMENT = ("#", "%", ";", "!", "//")


class UnreadableFileError(ValueError):
    """A file is not in the form that it claims or that can be read."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Columns of a file.

    Attributes
    ----------
    columns
        For each name in lower case (n,) values.
    units
        For each name, where the file states one.
    header
        What else the file says, keys in lower case.
    technique
        What the form of the file implies, or None.
    complete
        False where the file announces more rows than it holds.
    """

    columns: dict[str, Array]
    units: dict[str, str] = field(default_factory=dict)
    header: dict[str, str] = field(default_factory=dict)
    technique: Technique | None = None
    complete: bool = True


def read_xdi(text: str) -> Table:
    """Read the text of an XDI file (XAFS Data Interchange 1.0, Ravel and Newville 2016).

    Raises
    ------
    UnreadableFileError
        Columns are not named, or a row is no row of numbers.
    """
    header = dict(_fields(text, "#"))
    labels = {int(k[7:]): v for k, v in header.items() if k[:7] == "column." and k[7:].isdigit()}
    rows = _numbers(text)
    if set(labels) != set(range(1, rows.shape[1] + 1)):
        raise UnreadableFileError(
            f"{rows.shape[1]} columns of numbers but the header names columns {sorted(labels)}; "
            "expected one '# Column.N: name units' for each"
        )
    words = [labels[i + 1].split("||")[0].split() for i in range(rows.shape[1])]
    names = [word[0].lower() if word else f"column {i}" for i, word in enumerate(words)]
    return Table(
        columns=dict(zip(names, rows.T, strict=True)),
        units={n: w[1] for n, w in zip(names, words, strict=True) if len(w) > 1},
        header=header,
        technique=Technique.XANES,
    )


def read_msa(text: str) -> Table:
    """Read the text of an EMSA/MSPEC file (ISO 22029) into columns ``energy`` and ``spectrum``.

    Raises
    ------
    UnreadableFileError
        The header lacks what gives the energies, or a row is no row of numbers.
    """
    head, _, body = text.partition("#SPECTRUM")
    header = dict(_fields(head, "#"))
    rows = _numbers(body.partition("\n")[2].partition("#ENDOFDATA")[0])
    if header.get("datatype", "Y").upper() == "XY":
        if rows.shape[1] != 2:
            raise UnreadableFileError(f"DATATYPE is XY but rows have {rows.shape[1]} numbers")
        energy, counts = rows.T
    else:
        counts = rows.ravel()
        first = _number(header, "choffset", 0.0)
        channel = np.arange(len(counts)) + first
        energy = _number(header, "offset") + _number(header, "xperchan") * channel
    announced = int(_number(header, "npoints", float(len(counts))))
    return Table(
        columns={"energy": energy, "spectrum": counts},
        units={"energy": header.get("xunits", "")},
        header=header,
        technique=Technique.EELS,
        complete=len(counts) >= announced,
    )


def read_columns(text: str) -> Table:
    """Read columns of numbers, named by the line above them or two that are energy and mu.

    Raises
    ------
    UnreadableFileError
        There are no rows of numbers, or more than two columns without names.
    """
    rows = _numbers(text, heading=True)
    names = _heading(text)
    if len(names) == rows.shape[1] and "energy" in names:
        return Table(columns=dict(zip(names, rows.T, strict=True)))
    if rows.shape[1] != 2:
        raise UnreadableFileError(
            f"{rows.shape[1]} columns; expected two, energy and mu, or a line above them that "
            "names them: energy, i0, itrans …"
        )
    return Table(columns={"energy": rows[:, 0], "mu": rows[:, 1]})


def _fields(text: str, mark: str) -> list[tuple[str, str]]:
    """Key and value of each header line ``# key: value``."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.lstrip(mark).partition(":") for line in lines if line.startswith(mark))
    return [(key.strip().lower(), value.strip()) for key, colon, value in pairs if colon]


def _number(header: dict[str, str], key: str, default: float | None = None) -> float:
    value = header.get(key)
    if value is None and default is not None:
        return default
    try:
        return float(value or "")
    except ValueError:
        found = "no" if value is None else repr(value) + " as"
        raise UnreadableFileError(
            f"{found} {key.upper()} in the header; expected a number"
        ) from None


def _split(line: str) -> list[str]:
    return line.replace(",", " ").replace(";", " ").split()


def _floats(line: str) -> list[float] | None:
    try:
        return [float(word) for word in _split(line)]
    except ValueError:
        return None


def _numbers(text: str, *, heading: bool = False) -> Array:
    """(n, columns) of all lines of numbers; with ``heading`` words may stand before the first."""
    rows: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith(_COMMENT):
            continue
        row = _floats(line)
        if row is None and heading and not rows:
            continue
        if row is None or (rows and len(row) != len(rows[0])):
            raise UnreadableFileError(
                f"line {number} is {line.strip()[:60]!r}; expected "
                f"{len(rows[0]) if rows else 'some'} numbers"
            )
        rows.append(row)
    if not rows:
        raise UnreadableFileError("no rows of numbers")
    return np.array(rows)


def _heading(text: str) -> list[str]:
    """Words of the line just above the first row of numbers, in lower case."""
    above = ""
    for line in text.splitlines():
        bare = line.strip().lstrip("#%;!/ ")
        if bare and _floats(bare) is not None:
            break
        above = bare or above
    return [word.lower() for word in _split(above)]
