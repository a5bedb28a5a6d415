"""Cells of text that stand for numbers, in the ways in which instruments write them."""

import csv
import math
import re
from dataclasses import dataclass

_EMPTY = frozenset(
    "n/a na #n/a none null - -- --- nan(ind) nan(snan) overflow over under ovfl #div/0! "
    "1.#ind -1.#ind 1.#qnan -1.#qnan 1.#inf -1.#inf true false overload overrange saturated "
    "invalid missing am pm".split()
)
_STARS = re.compile(r"[*?#]+")
_TIME = re.compile(
    r"((\d{4}[-/]\d\d?[-/]\d\d?|\d\d?[-/]\d\d?[-/]\d{2,4})([T ]|$))?"
    r"\d{0,2}(:\d\d){0,2}([.,]\d+)?( ?[AP]M)?(Z|[+-]\d\d:?\d\d)?",
    re.IGNORECASE,
)
_FORTRAN = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[dDqQ]([+-]?\d+)|([+-]\d{3}))")
_JOINED = re.compile(r"\*+|[+-]?\d*\.\d*(?:[eEdD][+-]?\d{1,3})?")
_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eEdD][+-]?\d+)?")
# thousands apart: 8,979.25 or 1,234,567 (but 1,234 may be one and a bit), 8.979,25, 8 979,25
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:(?:,\d{3})+\.\d*|(?:,\d{3}){2,})")
_GROUPED_COMMA = re.compile(r"[+-]?\d{1,3}(?:(?:\.\d{3})+,\d*|(?:\.\d{3}){2,})")
_SPACED = re.compile(r"[+-]?\d{1,3}(?: \d{3})+[.,]\d*")


@dataclass(frozen=True, slots=True)
class Style:
    """How a line of numbers is written.

    Attributes
    ----------
    delimiter
        Between cells; None: any blanks.
    decimal_comma
        Whether 1,5 is one and a half.
    words
        Whether some columns hold words, which stand for no numbers.
    """

    delimiter: str | None = None
    decimal_comma: bool = False
    words: bool = False


# of two that fit as many lines, the first is taken
STYLES = (
    *(Style(delimiter, True) for delimiter in (";", "\t", "|", ",", None)),
    *(Style(delimiter) for delimiter in (";", "\t", "|", ",", None)),
)


def numbers(line: str, style: Style) -> list[float] | None:
    """Return the numbers of a line, NaN for what stands for a missing one; None: it has others.

    Two numbers that ran together (``1.0-2.0E+05``) are two, ``1.5D+03`` and ``1.5-103`` are
    Fortran's exponents, and an empty cell between delimiters keeps its place.
    """
    found: list[float] = []
    for cell in cells(line, style):
        read = _number(cell, style)
        if read is None and not style.words:
            return None
        found.extend(read or [math.nan])
    return None if style.words and sum(map(math.isfinite, found)) < 2 else found


def cells(line: str, style: Style) -> list[str]:
    """Return the cells of a line, without quotes."""
    if style.delimiter is None:
        return [cell.strip("\"'") for cell in line.split()]
    found: list[str] = []
    for part in split(line, style.delimiter):
        bare = part.strip().strip("\"'").strip()
        if not bare or _is_time(bare):
            found.append(bare)
        elif style.delimiter == ";" and _SPACED.fullmatch(bare):
            found.append(bare.replace(" ", ""))
        else:
            found.extend(bare.split())
    return found


def split(line: str, delimiter: str) -> list[str]:
    """Return what a delimiter parts; within double quotes it parts nothing."""
    bare = line.strip(" \r\n")
    if delimiter == "|":
        bare = bare.strip("|")
    if '"' not in bare:
        return bare.split(delimiter)
    try:
        return next(csv.reader([bare], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:  # a cell without end
        return bare.split(delimiter)


def starts_with_number(line: str, style: Style) -> bool:
    """Tell whether the first cell of a line is a number."""
    first = next(iter(cells(line, style)), "")
    return bool(first) and _number(first, style) is not None


def _number(cell: str, style: Style) -> list[float] | None:
    if _GROUPED_COMMA.fullmatch(cell) if style.decimal_comma else _GROUPED.fullmatch(cell):
        cell = cell.replace("." if style.decimal_comma else ",", "")
    if style.decimal_comma:
        if "." in cell or ("," in cell and not has_decimal_comma(cell)):
            return None
        cell = cell.replace(",", ".")
    try:
        if "_" not in cell:  # Python alone reads 1_000
            return [float(cell)]
    except ValueError:
        pass
    if fortran := _FORTRAN.fullmatch(cell):
        return [float(f"{fortran[1]}e{fortran[2] or fortran[3]}")]
    if not cell or cell.lower() in _EMPTY or _STARS.fullmatch(cell) or _is_time(cell):
        return [math.nan]
    return _parted(cell, style)


def _parted(cell: str, style: Style) -> list[float] | None:
    """Return the numbers that ran together in a cell."""
    parts = _JOINED.findall(cell)
    parts = [part for part in parts if part]
    if len(parts) < 2 or "".join(parts) != cell or any(part in ("+.", "-.", ".") for part in parts):
        return None
    read = [_number(part, Style()) for part in parts]
    return [value for values in read if values for value in values]


def _is_time(cell: str) -> bool:
    return (":" in cell or cell.count("-") == 2) and bool(_TIME.fullmatch(cell))


def has_decimal_comma(cell: str) -> bool:
    """Tell whether a cell is a number with a comma for its point."""
    return bool(_COMMA.fullmatch(cell) or _GROUPED_COMMA.fullmatch(cell))
