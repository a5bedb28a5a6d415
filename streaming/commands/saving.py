"""Rows of answers, on the disk as they come, and in their final form at the end."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nearedge.models.aside import written_aside
from nearedge.streaming.commands.answer_rows import (
    COLUMNS,
    as_json,
    file_name,
    is_rejected,
    row_of,
    xyz_of,
)
from nearedge.streaming.commands.inverting import Outcome

FORMS = (".parquet", ".json")
ROWS_AT_ONCE = 256


class OutputError(ValueError):
    """An output whose form is not known, or that cannot be written."""


def is_folder(out: Path) -> bool:
    """Tell whether an output is a folder for extended XYZ, rather than a file.

    Raises
    ------
    OutputError
        If it is neither: a file with an ending that stands for no known form.
    """
    if out.suffix == "" or out.is_dir():
        return True
    if out.suffix not in FORMS:
        raise OutputError(
            f"the output {out} ends in {out.suffix!r}: expected .parquet, .json, or a folder for "
            "extended XYZ (a name without an ending)"
        )
    return False


class Saving:
    """The output of one call.

    Each row goes at once to a file beside the output, ``OUT.rows.jsonl``, a JSON object a line. At
    the end the output is made of it and it is removed; after an interruption or a crash it stays,
    and the same command takes the rows that it holds from there.

    Parameters
    ----------
    out
        ``NAME.parquet``, ``NAME.json``, or a folder for extended XYZ.

    Raises
    ------
    OutputError
        If the ending is another, or nothing can be written there.
    """

    def __init__(self, out: Path) -> None:
        self._folder = is_folder(out)
        self.out = out
        self.rows_path = out.with_name(f"{out.name}.rows.jsonl")
        try:
            (out if self._folder else out.parent).mkdir(parents=True, exist_ok=True)
            self._file = self.rows_path.open("a+b")
        except OSError as error:
            raise OutputError(
                f"the output {out} cannot be written: {error.strerror} ({error.filename})"
            ) from error
        self._at = dict(self._known())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file beside the output, which goes where it has nothing more to say."""
        self._file.close()
        if self.rows_path.exists() and not self.rows_path.stat().st_size:
            self.rows_path.unlink()

    def __contains__(self, key: str) -> bool:
        """Tell whether there is a row of that key."""
        return key in self._at

    def row(self, key: str) -> dict[str, Any]:
        """Return the row of a key."""
        self._file.seek(self._at[key])
        row: dict[str, Any] = json.loads(self._file.readline())["row"]
        return row

    def add(self, key: str, outcome: Outcome, *, number: int) -> dict[str, Any]:
        """Save one more, on the disk when this returns; return its row.

        Parameters
        ----------
        key
            Under which it can be found again.
        outcome
            What became of a spectrum.
        number
            Which of the call's spectra it is.
        """
        row = row_of(outcome)
        xyz = xyz_of(outcome) if self._folder else None
        if xyz is not None:
            row["file_xyz"] = file_name(number, outcome.asked.id)
            (self.out / row["file_xyz"]).write_text(xyz)
        self._file.seek(0, 2)
        at = self._file.tell()
        self._file.write(f'{{"key": "{key}", "row": {as_json(row)}}}\n'.encode())
        self._file.flush()
        self._at[key] = at
        return row

    def finish(self, keys: Sequence[str], *, done: bool) -> int:
        """Write the output of all rows that there are, in the order of their keys.

        Parameters
        ----------
        keys
            The keys of all spectra of the call.
        done
            Whether all are there: the file beside the output is removed then.

        Returns
        -------
        int
            How many rows the output has.
        """
        here = [key for key in keys if key in self]
        rows = (self.row(key) for key in here)
        target = self.out / "summary.json" if self._folder else self.out
        with written_aside(target) as part:
            if self.out.suffix == ".parquet" and not self._folder:
                _write_parquet(part, rows)
            else:
                _write_json(part, map(_summary, rows) if self._folder else rows)
        if done:
            self._file.truncate(0)
        return len(here)

    def _known(self) -> Iterator[tuple[str, int]]:
        """Yield key and place of each row of an earlier call; one cut short is dropped."""
        self._file.seek(0)
        at = 0
        for line in iter(self._file.readline, b""):
            try:
                found = json.loads(line)
                # a rejection may have had a cause that is gone, such as a missing package
                usable = set(found["row"]) >= set(COLUMNS) and not is_rejected(found["row"])
            except (ValueError, KeyError, TypeError):
                usable = False
            if not line.endswith(b"\n"):
                self._file.truncate(at)
                return
            if usable:
                yield found["key"], at
            at += len(line)


def _summary(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("species", "positions")}


def _write_json(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for number, row in enumerate(rows):
            file.write(f"{',' if number else ''}\n {as_json(row)}")
        file.write("\n]\n")


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, _arrow_type(text)) for name, text in COLUMNS.items()])
    with pq.ParquetWriter(path, schema) as writer:
        some: list[dict[str, Any]] = []
        for row in rows:
            some.append(row)
            if len(some) == ROWS_AT_ONCE:
                writer.write_table(pa.Table.from_pylist(some, schema=schema))
                some = []
        writer.write_table(pa.Table.from_pylist(some, schema=schema))


def _arrow_type(text: str) -> Any:
    import pyarrow as pa

    if text.startswith("list<"):
        return pa.list_(_arrow_type(text[5:-1]))
    known = {"bool": pa.bool_(), "float": pa.float32(), "double": pa.float64()}
    return known.get(text) or pa.type_for_alias(text)
