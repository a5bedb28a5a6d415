"""Documents from JSON lines: one ``[name, document]`` or ``{"name": …, "doc": …}`` each."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from nearedge.streaming.sources.buffers import Limits, MessageError, WireError
from nearedge.streaming.sources.wire import NAMES, decode_json

logger = logging.getLogger(__name__)


class JsonlSource:
    """Documents recorded as JSON lines, as TiledWriter's backups are.

    Parameters
    ----------
    paths
        Files, read one after another.
    on_bad
        Called with the error for every line that is no document.
    limits
        The limits of one line.

    Attributes
    ----------
    bad
        Lines that were no documents.
    """

    def __init__(
        self,
        paths: Iterable[str | Path],
        *,
        on_bad: Callable[[WireError], None] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._paths = [Path(p) for p in paths]
        self._on_bad = on_bad or _log_bad
        self._limits = limits or Limits()
        self._stopping = threading.Event()
        self.bad = 0

    def documents(
        self, on_loss: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the documents in the order of the lines.

        Raises
        ------
        OSError
            If a file cannot be read.
        """
        for path in self._paths:
            with path.open("rb") as lines:
                yield from self._of_file(path, lines)

    @property
    def silence(self) -> str | None:
        """Nothing: documents come until there are no more."""
        return None

    def stop(self) -> None:
        """End before the next document."""
        self._stopping.set()

    def _of_file(self, path: Path, lines: Iterable[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, line in enumerate(lines, 1):
            if self._stopping.is_set():
                return
            if not line.strip(b"\x1e \r\n\t"):  # RFC 7464 marks the start of a record by 1E
                continue
            try:
                document = _document(line.lstrip(b"\x1e"), self._limits)
            except WireError as e:
                self.bad += 1
                self._on_bad(type(e)(f"{path}, line {number}: {e}"))
            else:
                yield document


def _document(line: bytes, limits: Limits) -> tuple[str, dict[str, Any]]:
    record = decode_json(line, limits=limits)
    if isinstance(record, dict):
        record = [record.get("name"), record.get("doc")]
    match record:
        case [str(name), dict(doc)] if name in NAMES:
            return name, doc
    raise MessageError(f"expected [name, document], found {line[:60]!r}")


def _log_bad(error: WireError) -> None:
    logger.warning("a line was refused: %s", error)
