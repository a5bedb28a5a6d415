"""Names and units of columns, from what stands above them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from nearedge.streaming.sources.files.cells import split
from nearedge.streaming.sources.files.rows import Rows
from nearedge.streaming.sources.files.table import UnreadableFileError

Label: TypeAlias = tuple[str, str]
"""A column's name and its unit, which may be empty."""
_MARKS = "#%;!/*"
_UNIT = re.compile(
    r"(.+?)[\s_]*[(\[]\s*(k?ev|deg\w*|m?rad\w*|[mun]?[asv]|sec|a\.?u\.?|arb\S*|counts|cps)\s*[)\]]",
    re.I,
)
_TAILED = re.compile(r"(.*energ\w+|e|omega)[\s/_.,-]+(k?ev)", re.IGNORECASE)
_BARE_UNIT = re.compile(
    r"[(\[]?(k?ev|deg\w*|°|m?rad\w*|[munpµ]?[asv]|sec|a\.?u\.?|arb\S*|counts|k?cps|-|)[)\]]?", re.I
)
# of a line by itself: `Column 1: energy`, and `2 [1-D Positioner 1] PV, …` of mda2ascii
_LEGEND = re.compile(
    r"(?:col(?:umn)?[ ._]*([0-9]+)\s*[:=.]?|([0-9]+)\s+\[[^]]+\])\s+(?P<name>\S.*)", re.IGNORECASE
)
_FIELD = re.compile(r"column\.([0-9]+)", re.IGNORECASE)
_TYPE = re.compile(r"\s+(DOUBLE|FLOAT|INTEGER|LONG|ASCII)$")  # of DESY's .fio files
_LABELS = re.compile(r"^[LCN]\s+(?=\S)|^columns?\s*[:=]\s*|@#$", re.IGNORECASE)  # of labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What the lines above the numbers say.

    Attributes
    ----------
    names
        One for each column; none where the file names none.
    units
        The unit of each name, where one is stated.
    fields
        ``key: value`` lines, keys in lower case.
    """

    names: list[str] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)


def is_xdi(header: Sequence[str]) -> bool:
    """Tell whether lines are the header of an XDI file (Ravel and Newville 2016)."""
    return bool(header) and header[0].replace(" ", "").upper().startswith("#XDI/")


def read_heading(rows: Rows) -> Heading:
    """Return what the lines above the numbers say; comments of XDI's users say nothing.

    Raises
    ------
    UnreadableFileError
        An XDI header names other columns than there are.
    """
    width = rows.values.shape[1]
    lines = [line.lstrip(_MARKS).strip() for line in rows.header]
    if not is_xdi(rows.header):
        found = _legend(lines, width) or _of_beamline(rows.header, width)
        return _heading(found or _label_line(lines, rows) or [], fields_of(lines))
    fields = fields_of(_before_comments(rows.header))
    labels = _xdi_columns(fields, width) or _label_line(lines[-1:], rows)
    if not labels:
        raise UnreadableFileError(
            f"{width} columns of numbers but the header names columns []; expected one "
            "'# Column.N: name units' for each"
        )
    return _heading(labels, fields)


def fields_of(lines: Sequence[str]) -> dict[str, str]:
    """Return key and value of each line ``key: value``."""
    pairs = (line.lstrip(_MARKS).partition(":") for line in lines)
    return {key.strip().lower(): value.strip() for key, colon, value in pairs if colon}


def _heading(labels: Sequence[Label], fields: dict[str, str]) -> Heading:
    return Heading(
        names=[name for name, _ in labels],
        units={name: unit for name, unit in labels if unit},
        fields=fields,
    )


def label_of(text: str) -> Label:
    """Part ``Energy (eV)`` or ``energy/keV`` into name and unit."""
    found = _UNIT.fullmatch(text) or _TAILED.fullmatch(text)
    return (found[1].strip(), found[2]) if found else (text, "")


def _before_comments(header: Sequence[str]) -> list[str]:
    """Return the fields of an XDI header: those above ``///``, or the rule that ends it."""
    found: list[str] = []
    for line in header:
        bare = line.lstrip("# \t")
        if bare.startswith("///") or (len(bare) > 2 and not bare.strip("-")):
            break
        found.append(line)
    return found


def _xdi_columns(fields: dict[str, str], width: int) -> list[Label] | None:
    labels = {
        int(found[1]): text for key, text in fields.items() if (found := _FIELD.fullmatch(key))
    }
    if not labels:
        return None
    if not set(labels) <= set(range(1, width + 1)) or 1 not in labels:
        raise UnreadableFileError(
            f"{width} columns of numbers but the header names columns {sorted(labels)}; "
            "expected one '# Column.N: name units' for each"
        )
    words = [labels.get(n, "").split("||")[0].split() for n in range(1, width + 1)]
    # a name and its unit, told apart by a blank; further words are remarks
    return [
        (word[0] if word else f"column {n}", word[1].strip("()[],") if len(word) > 1 else "")
        for n, word in enumerate(words, start=1)
    ]


def _legend(lines: Sequence[str], width: int) -> list[Label] | None:
    """Return names that a header lists one a line: ``Column 1: energy``."""
    matches = [found for line in lines if (found := _LEGEND.fullmatch(line))]
    named = {int(found[1] or found[2]): _legend_label(found) for found in matches}
    every = range(1, width + 1)
    return [named[n] for n in every] if set(named) == set(every) else None


def _legend_label(found: re.Match[str]) -> Label:
    if found[2]:  # behind the PV stand its description, mode and unit
        return label_of(found["name"].partition(",")[0].strip())
    return label_of(_TYPE.sub("", found["name"]))


def _of_beamline(header: Sequence[str], width: int) -> list[Label] | None:
    """Return the names that Larch knows how to find in the header of some beamlines."""
    if len(header) < 2:
        return None  # too little to know one by
    try:
        from larch.io.xafs_beamlines import GenericBeamlineData, guess_beamline
    except ImportError:  # the extra `files`: without it their columns have no names
        return None
    kind = guess_beamline(list(header))
    if kind is GenericBeamlineData:
        return None
    beamline = kind(list(header))
    try:
        names = list(beamline.get_array_labels())
    except (ValueError, IndexError, KeyError):  # a header that only begins like that beamline's
        return None
    if len(names) != width:
        return None
    at = beamline.energy_column - 1
    return [(name, beamline.energy_units if n == at else "") for n, name in enumerate(names)]


def _label_line(lines: Sequence[str], rows: Rows) -> list[Label] | None:
    """Return the words of the line that names the columns: the lowest with an energy, or lowest.

    A line of units may stand below the names.
    """
    filled = [n for n, column in enumerate(rows.values.T) if not all(map(_is_nan, column))]
    width = rows.values.shape[1]
    fitting = [
        words
        for line in reversed(lines)
        for words in _ways(_LABELS.sub("", line).strip(), rows.style.delimiter)
        if len(words) in (width, len(filled))
    ]
    units = next((words for words in fitting if _are_units(words)), None)
    words = _names([words for words in fitting if not _are_units(words)], width)
    if words is None:
        return None
    labels = [label_of(word) for word in words]
    if units is not None and len(units) == len(words):
        below = [unit.strip("()[]") for unit in units]
        labels = [(name, unit or under) for (name, unit), under in zip(labels, below, strict=True)]
    if len(labels) == width:
        return labels
    by_place = dict(zip(filled, labels, strict=True))
    return [by_place.get(n, (f"column {n + 1}", "")) for n in range(width)]


def _names(fitting: Sequence[list[str]], width: int) -> list[str] | None:
    best = next((words for words in fitting if any(map(is_energy, words))), None)
    if best is None and width > 2:
        best = next((words for words in fitting if not any(map(_is_number, words))), None)
    return best


def _are_units(words: Sequence[str]) -> bool:
    return any(words) and all(_BARE_UNIT.fullmatch(word) for word in words)


def is_energy(name: str) -> bool:
    """Tell whether a column's name may be that of energies."""
    text = name.lower()
    return "energ" in text or text.split("(")[0].strip() in ("e", "en", "ene", "ev", "omega", "k")


def _is_nan(value: float) -> bool:
    return value != value


def _is_number(word: str) -> bool:
    return bool(re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", word, re.IGNORECASE))


def _ways(line: str, delimiter: str | None) -> Iterator[list[str]]:
    """Yield the words of a line in the ways in which headings are written."""
    for mark in dict.fromkeys((delimiter, ",", "\t", ";", "|")):
        if mark and mark in line:
            yield [word.strip().strip("\"'").strip() for word in split(line, mark)]
    if '"' in line:
        yield [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|(\S+)', line)]
    yield re.split(r"\t+|\s{2,}", line)
    yield re.sub(r"\s+(?=[(\[])", "", line).split()
