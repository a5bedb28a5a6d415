"""Read the scans of SPEC files, through silx."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nearedge.streaming.sources.files.table import Table, UnreadableFileError, named


def is_spec(lines: list[str]) -> bool:
    """Tell whether a text is a SPEC file: one with lines ``#S`` that begin scans."""
    return any(line.startswith("#S ") for line in lines)


def read_spec(path: Path) -> Iterator[Table | UnreadableFileError]:
    """Yield each scan of a SPEC file, or why it cannot be read.

    Raises
    ------
    UnreadableFileError
        If silx is not installed, or finds no scan.
    """
    try:
        from silx.io.specfile import SfErrColNotFound, SpecFile
    except ImportError:
        raise UnreadableFileError(
            "a SPEC file; to read it install what reads it: pip install 'nearedge[files]'"
        ) from None
    try:
        scans = SpecFile(str(path))
    except OSError as error:
        raise UnreadableFileError(f"silx cannot read it as a SPEC file: {error}") from error
    for scan in scans:
        title = scan.scan_header_dict.get("S", "").strip()
        name = f"scan {scan.number}.{scan.order}"
        try:
            data, labels = np.asarray(scan.data, dtype=float), list(scan.labels)
        except (SfErrColNotFound, ValueError, IndexError, KeyError) as error:
            yield UnreadableFileError(f"{name} ({title}): {error}")
            continue
        if not data.size or len(data) != len(labels):
            yield UnreadableFileError(
                f"{name} ({title}): {len(data)} columns of numbers, {len(labels)} names in #L"
            )
            continue
        yield Table(
            columns=named(labels, list(data)),
            name=name,
            header={"title": title, "date": scan.scan_header_dict.get("D", "")},
            complete=not any("aborted" in line.lower() for line in scan.scan_header),
        )
