"""Read the scans of SPEC files.

Each scan's lines are read as any other columns are, so that a line that makes no sense is named
instead of left out. (silx, which is faster, leaves it out, and reads no titles but in UTF-8.)
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from nearedge.streaming.sources.files.headings import Label, label_of
from nearedge.streaming.sources.files.rows import read_rows
from nearedge.streaming.sources.files.table import Table, UnreadableFileError, named

_SCAN = re.compile(r"#S\s+(\d+)\s*(.*)")


def is_spec(lines: Sequence[str]) -> bool:
    """Tell whether a text is a SPEC file: one with lines ``#S`` that begin scans."""
    return any(_SCAN.match(line) for line in lines)


def read_spec(lines: Sequence[str]) -> Iterator[Table | UnreadableFileError]:
    """Yield each scan of a SPEC file, or why it cannot be read."""
    scans = [(at, found) for at, line in enumerate(lines) if (found := _SCAN.match(line))]
    ends = [*(at for at, _ in scans[1:]), len(lines)]
    orders: Counter[str] = Counter()
    for (begin, found), end in zip(scans, ends, strict=True):
        number, title = found.groups()
        orders[number] += 1  # a file may have several scans of one number
        name = f"scan {number}.{orders[number]}"
        try:
            yield _scan(lines[begin:end], begin, name, title.strip())
        except UnreadableFileError as error:
            yield UnreadableFileError(f"{name} ({title.strip()}): {error}")


def _scan(lines: Sequence[str], above: int, name: str, title: str) -> Table:
    rows = read_rows(list(_without_spectra(lines)), above=above)
    labels = _labels(lines, rows.values.shape[1])
    aborted = any("aborted" in line.lower() for line in lines if line.startswith("#C"))
    return Table(
        columns=named([label for label, _ in labels], list(rows.values.T)),
        name=name,
        units={label: unit for label, unit in labels if unit},
        header={"title": title, "date": _after("#D", lines)},
        complete=rows.complete and not aborted,
    )


def _without_spectra(lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines, with empty ones for those of multi-channel analysers."""
    inside = False
    for line in lines:
        is_spectrum = inside or line.startswith("@")
        inside = is_spectrum and line.rstrip().endswith("\\")
        yield "" if is_spectrum else line


def _labels(lines: Sequence[str], count: int) -> list[Label]:
    text = _after("#L", lines)
    for pattern in (r"\s{2,}|\t+", r"\s+"):
        words = [word for word in re.split(pattern, text) if word]
        if len(words) == count:
            return [label_of(word) for word in words]
    raise UnreadableFileError(f"{count} columns of numbers, but the line #L names {text!r}")


def _after(mark: str, lines: Sequence[str]) -> str:
    """Return what follows a mark in the first line that begins with it."""
    return next((line[len(mark) :].strip() for line in lines if line.startswith(mark)), "")
