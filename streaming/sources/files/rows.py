"""The rows of numbers of a text, what stands above them, and where they stop making sense."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from nearedge.models import Array
from nearedge.streaming.sources.files.cells import (
    STYLES,
    Style,
    cells,
    has_decimal_comma,
    numbers,
    starts_with_number,
)
from nearedge.streaming.sources.files.table import UnreadableFileError

COMMENT = ("#", "%", ";", "!", "//")
LOOKED_AT = 400  # lines from which the style is told
MOST_STRAY = 2  # rows of numbers that may stand in a header, such as offsets and gains
SHOWN = 60  # characters of a line in a message

_Row: TypeAlias = list[float] | None
_BEGINS = frozenset("+-.0123456789*\"'nN|")
# what parts thousands and is no blank between columns: of Switzerland, and of careful typesetters
_THOUSANDS = re.compile(r"(?<![\d.,])(\d{1,3}(?:['\u2019\u00a0\u202f\u2009]\d{3})+)(?!\d)")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """The numbers of a text.

    Attributes
    ----------
    header
        The lines above them, stripped.
    values
        (n, columns), NaN where a cell stands for a missing number.
    style
        How they are written.
    complete
        False where the last row is cut.
    """

    header: list[str]
    values: Array
    style: Style
    complete: bool


_FORMS = {
    b"PK\x03\x04": "a zip archive, such as a spreadsheet; save its table as CSV",
    b"\xd0\xcf\x11\xe0": "a spreadsheet or document of old Office; save its table as CSV",
    b"\x93NUMPY": "an array of NumPy; save it as text with numpy.savetxt",
    b"%PDF": "a PDF; expected the numbers as text",
}


def decode(data: bytes) -> str:
    """Return the text of a file's bytes.

    Raises
    ------
    UnreadableFileError
        If the bytes are not text.
    """
    for mark, form in _FORMS.items():
        if data.startswith(mark):
            raise UnreadableFileError(form)
    for mark, name in (
        (b"\xff\xfe\0\0", "utf-32"),
        (b"\0\0\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
        (b"\xef\xbb\xbf", "utf-8-sig"),
    ):
        if data.startswith(mark):
            return _plain(data.decode(name, errors="replace"))
    if b"\0" not in (padded := data.rstrip(b"\0")):  # some programs fill up a block
        data = padded
    if b"\0" in data:
        return _plain(_without_mark(data))
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return _plain(text)


def _plain(text: str) -> str:
    """Return a text with plain minus signs, and without what parts thousands."""
    parted = _THOUSANDS.sub(lambda found: re.sub(r"\D", "", found[1]), text)
    return parted.replace("\u2212", "-")


def _without_mark(data: bytes) -> str:
    """Return UTF-16 text that lacks its mark: every other byte is 0."""
    for start, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if data[start::2].count(0) > 0.9 * len(data) / 2:
            return data.decode(name, errors="replace")
    raise UnreadableFileError("a binary file of unknown form")


def lines_of(text: str) -> list[str]:
    """Return the lines of a text with any line ends, those of old Macs included."""
    return re.split(r"\r\n|\r|\n", text)


def read_rows(lines: Sequence[str], *, above: int = 0) -> Rows:
    """Find the rows of numbers.

    Words and a few stray numbers may stand above them, words below them, comments and empty
    lines anywhere.

    Parameters
    ----------
    lines
        The lines of the text.
    above
        How many lines of the file stand above these.

    Raises
    ------
    UnreadableFileError
        There are none, or one in their midst is no row like the others; its line is named.
    """
    try:
        return _read_rows(lines)
    except _NoRowError as error:
        raise UnreadableFileError(
            f"line {above + error.at + 1} is {lines[error.at].strip()[:SHOWN]!r}; expected "
            f"{error.width} numbers as in the other lines: mend or remove it"
        ) from None


class _NoRowError(Exception):
    """A line that should be a row and is none; never leaves this module."""

    def __init__(self, at: int, width: int) -> None:
        super().__init__(at, width)
        self.at, self.width = at, width


def _read_rows(lines: Sequence[str]) -> Rows:
    style, width = _style(lines)
    parsed = [_row(line, style, width) for line in lines]
    first = _first(lines, parsed, width, style)
    values: list[list[float]] = []
    complete = True
    for at in range(first, len(lines)):
        row, line = parsed[at], lines[at]
        if row is not None and len(row) == width:
            values.append(row)
        elif not _is_skipped(line):
            complete = _end(lines, parsed, at, width, style)
            break
    return Rows(
        header=[line.strip() for line in lines[:first] if line.strip()],
        values=np.array(values),
        style=style,
        complete=complete,
    )


def _is_skipped(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith(COMMENT)


def _row(line: str, style: Style, width: int) -> _Row:
    """Return the numbers of a line, without what stands for none past the last column."""
    row = None if _is_skipped(line) else _numbers(line, style)
    if row is None or not all(map(math.isnan, row[width:])):
        return row
    return row[:width]


def _numbers(line: str, style: Style) -> _Row:
    """Return the numbers of a line, with or without a remark behind them."""
    bare, mark, _ = line.partition(" #")
    row = None if mark and style.words else numbers(line, style)
    return numbers(bare, style) if mark and row is None else row


def _style(lines: Sequence[str]) -> tuple[Style, int]:
    """Return the style in which most lines have the same number of cells, and that number."""
    likely = [line for line in lines if line.strip()[:1] in _BEGINS and line.strip()]
    looked_at = likely[:: 1 + len(likely) // LOOKED_AT]
    styles = [style for style in STYLES if _may_be(style, looked_at)]
    for ways in (styles, [replace(style, words=True) for style in styles]):
        if found := _fitting(ways, looked_at):
            return found
    raise UnreadableFileError("no rows of numbers in two or more columns")


def _fitting(styles: Sequence[Style], lines: Sequence[str]) -> tuple[Style, int] | None:
    best = Style(), 0, 0
    for style in styles:
        width, count = _commonest([len(row) for line in lines if (row := _numbers(line, style))])
        if width > 1 and count > best[2]:
            best = style, width, count
    return best[:2] if best[2] else None


def _may_be(style: Style, lines: Sequence[str]) -> bool:
    if style.delimiter is not None and not any(style.delimiter in line for line in lines):
        return False
    commas = (has_decimal_comma(cell) for line in lines for cell in cells(line, style))
    return not style.decimal_comma or any(commas)


def _commonest(sizes: Sequence[int]) -> tuple[int, int]:
    return Counter(sizes).most_common(1)[0] if sizes else (0, 0)


def _first(lines: Sequence[str], parsed: Sequence[_Row], width: int, style: Style) -> int:
    """Return where the rows begin: past all words that have no more than a few rows above them."""
    first, above = 0, 0
    last = max(at for at, row in enumerate(parsed) if row is not None and len(row) == width)
    for at, line in enumerate(lines[:last]):
        if parsed[at] is not None and len(parsed[at] or ()) == width:
            above += 1
        elif not _is_skipped(line):
            if above > MOST_STRAY or (above and starts_with_number(line, style)):
                break
            first, above = at + 1, 0
    begin = next(at for at in range(first, last + 1) if len(parsed[at] or ()) == width)
    _refuse_ragged_above(lines, parsed, begin, width)
    return begin


def _refuse_ragged_above(
    lines: Sequence[str], parsed: Sequence[_Row], begin: int, width: int
) -> None:
    """Refuse a row of another width that ends the header: it is more likely data than words."""
    above = next((at for at in range(begin - 1, -1, -1) if lines[at].strip()), None)
    if above is not None and parsed[above] is not None:
        raise _NoRowError(above, width)


def _end(lines: Sequence[str], parsed: Sequence[_Row], at: int, width: int, style: Style) -> bool:
    """Return whether the rows end whole at a line that is none: words do so, a cut row does not."""
    rest = [n for n in range(at, len(lines)) if not _is_skipped(lines[n])]
    if len(rest) == 1 and len(parsed[at] or range(width)) < width:
        return False
    wrong = next((n for n in rest if starts_with_number(lines[n], style)), None)
    if wrong is None:
        return True
    raise _NoRowError(at if len(parsed[wrong] or ()) == width else wrong, width)
