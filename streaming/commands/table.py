"""Results as they come: a live table on a terminal, plain lines elsewhere."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import isnan
from typing import Protocol

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nearedge.models import Rejected
from nearedge.streaming.answers.figures import BOND, CN, DASH, Answered
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.map_row import MapRow, MapStatus
from nearedge.streaming.ledger.row import Row

HEADINGS = (
    *("scan", "run", "edge", CN.heading, f"{CN.symbol} 90 %", BOND.heading),
    *("flags", "latency, s"),
)
RIGHT = ("scan", CN.heading, "latency, s")
SHOWN = 30
DOUBTS = frozenset(
    {
        "maybe-saturated",
        "maybe-self-absorbed",
        "not-explained",
        "out-of-distribution",
        "unlike-averaged",
    }
)
"""Flags that make an answer's figures mean little, as the page has them in flags.js."""

Counts = Callable[[], Mapping[State, int]]


class Show(Protocol):
    """Shows what comes."""

    def __call__(self, row: Row) -> None:
        """Show one more row."""

    def map(self, row: MapRow) -> None:
        """Show how far a map is."""

    def note(self, text: str) -> None:
        """Show a sentence for as long as rows are shown."""


@contextmanager
def showing(console: Console, *, counts: Counts | None = None) -> Iterator[Show]:
    """Yield what shows rows and notes on a console.

    Parameters
    ----------
    console
        A terminal gets a live table of the newest rows, anything else one line per row.
    counts
        The ledger's states, for the line below the table.
    """
    if not console.is_terminal:
        yield Lines(console)
        return
    table = LiveTable(counts=counts)
    with Live(table, console=console, refresh_per_second=4):
        yield table


class Lines:
    """Rows as lines of text, notes on standard error."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[str, int] = {}

    def __call__(self, row: Row) -> None:
        """Print one more row."""
        self._console.print(Text(line(row)), soft_wrap=True)

    def map(self, row: MapRow) -> None:
        """Print how far a map is: some lines while it grows, and the last."""
        shown, last = self._shown.get(row.key, 0), row.status is MapStatus.COMPLETE
        # a series of unknown length has all of its pixels at any time
        if last or row.come >= shown + max(row.pixels // 10, shown // 2, 1):
            self._shown[row.key] = row.come
            self._console.print(Text(map_line(row)), soft_wrap=True)
        if last:
            self._shown.pop(row.key, None)

    def note(self, text: str) -> None:
        """Print a sentence."""
        typer.echo(text, err=True)


class LiveTable:
    """The newest rows as a table, with notes below it; any thread may add to it."""

    def __init__(self, *, counts: Counts | None = None, shown: int = SHOWN) -> None:
        self._rows: deque[tuple[str, Row | MapRow]] = deque(maxlen=shown)
        self._notes: list[str] = []
        self._counts = counts
        self._lock = threading.Lock()

    def __call__(self, row: Row) -> None:
        """Show one more row."""
        with self._lock:
            self._rows.append((row.key, row))

    def map(self, row: MapRow) -> None:
        """Show how far a map is, in the line that it has."""
        with self._lock:
            for at, (key, before) in enumerate(self._rows):
                if key == row.key and isinstance(before, MapRow):
                    self._rows[at] = key, row
                    return
            self._rows.append((row.key, row))

    def note(self, text: str) -> None:
        """Show a sentence below the table."""
        with self._lock:
            self._notes.append(text)

    def __rich__(self) -> Group:
        with self._lock:
            rows, notes = [row for _, row in self._rows], list(self._notes)
        table = Table(caption=self._caption(), caption_justify="left")
        for heading in HEADINGS:
            table.add_column(heading, justify="right" if heading in RIGHT else "left")
        for row in rows:
            if isinstance(row, MapRow):
                table.add_row(*map(Text, map_cells(row)))
            else:
                table.add_row(*map(Text, cells(row)), style=_style(row))
        return Group(table, *(Text(note, overflow="fold") for note in notes))

    def _caption(self) -> str | None:
        counts = {} if self._counts is None else self._counts()
        return ", ".join(f"{n} {state}" for state, n in counts.items() if n) or None


def cells(row: Row) -> tuple[str, ...]:
    """Return the texts of one row, as many as there are headings."""
    run = row.measurement.run
    name = run.uid[:8] + ("" if row.measurement.spectrum == "0" else f"#{row.measurement.spectrum}")
    scan = "" if run.scan_id is None else str(run.scan_id)
    return (scan, name, edge(row), *figures_text(row.inversion), words(row), f"{row.latency_s:.2f}")


def line(row: Row) -> str:
    """Return one row as a line of text."""
    scan, name, which, cn, cn_set, bond, text, latency = cells(row)
    figures = (
        f"{CN.symbol} {cn} {cn_set}  {BOND.symbol} {bond} {BOND.unit}"
        if row.inversion
        else str(row.status)
    )
    return f"scan {scan or '-'}  {name}  {which}  {figures}  {latency} s  {text}".rstrip()


def map_cells(row: MapRow) -> tuple[str, ...]:
    """Return the texts of a map, as many as there are headings."""
    scan = "" if row.run.scan_id is None else str(row.run.scan_id)
    figures = (DASH,) * 3
    return (
        *(scan, f"{row.run.uid[:8]} map", row.edge),
        *(*figures, map_words(row), DASH if isnan(row.latency_s) else f"{row.latency_s:.2f}"),
    )


def map_words(row: MapRow) -> str:
    """Return how far a map is."""
    shape = " × ".join(map(str, row.shape))
    refused = f", {row.rejected} rejected" if row.rejected else ""
    flags = f"; {', '.join(row.flags)}" if row.flags else ""
    return f"{row.status}: {row.answered} of {row.pixels} pixels ({shape}){refused}{flags}"


def map_line(row: MapRow) -> str:
    """Return a map as a line of text."""
    scan, name, which, *_, text, latency = map_cells(row)
    late = "" if latency == DASH else f"  {latency} s"
    return f"scan {scan or '-'}  {name}  {which}  {text}{late}"


def edge(row: Row) -> str:
    """Return whose edge it is, as far as known."""
    return "" if isinstance(row.outcome, Rejected) else f"{row.outcome.absorber} {row.outcome.edge}"


def words(row: Row) -> str:
    """Return flags, or why there is no answer."""
    if row.error is not None:
        return f"{row.status}: {row.error}"
    if isinstance(row.outcome, Rejected):
        return f"{row.status}: {row.outcome.reason}: {row.outcome.detail}"
    return flags_text(row.flags)


def flags_text(flags: Iterable[str]) -> str:
    """Return flags in one line, those first that make an answer's figures mean little."""
    told = list(flags)
    doubts = ", ".join(flag for flag in told if flag in DOUBTS)
    others = ", ".join(flag for flag in told if flag not in DOUBTS)
    return "; ".join(filter(None, [doubts and f"do not rely on it: {doubts}", others]))


def figures_text(answer: Answered | None) -> tuple[str, str, str]:
    """Return mean CN with its interval, the 90 % set of a site's CN, and mean bond likewise."""
    if answer is None:
        return DASH, DASH, DASH
    cn, bond = CN.read(answer), BOND.read(answer)
    mean = f"{CN.text(cn)} {CN.interval_text(cn)}".rstrip()
    return mean, CN.bounds_text(cn), f"{BOND.text(bond)} {BOND.bounds_text(bond)}".rstrip()


def _style(row: Row) -> str:
    doubtful = "magenta" if DOUBTS.intersection(row.flags) else ""
    return {State.FAILED: "red", State.REJECTED: "yellow"}.get(row.status, doubtful)
