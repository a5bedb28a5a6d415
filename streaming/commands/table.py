"""Results as they come: a live table on a terminal, plain lines elsewhere."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nearedge.models import Rejected
from nearedge.streaming.answers.figures import BOND, CN, DASH, Answered
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.row import Row

HEADINGS = (
    *("scan", "run", "edge", CN.heading, f"{CN.symbol} 90 %", BOND.heading),
    *("flags", "latency, s"),
)
RIGHT = ("scan", CN.heading, "latency, s")
SHOWN = 30

Show = Callable[[Row], None]
Counts = Callable[[], Mapping[State, int]]


@contextmanager
def showing(console: Console, *, counts: Counts | None = None) -> Iterator[Show]:
    """Yield a listener that shows rows on a console.

    Parameters
    ----------
    console
        A terminal gets a live table of the newest rows, anything else one line per row.
    counts
        The ledger's states, for the line below the table.
    """
    if not console.is_terminal:
        yield lambda row: console.print(Text(line(row)), soft_wrap=True)
        return
    table = LiveTable(counts=counts)
    with Live(table, console=console, refresh_per_second=4):
        yield table.add


class LiveTable:
    """The newest rows as a table; rows may be added by any thread."""

    def __init__(self, *, counts: Counts | None = None, shown: int = SHOWN) -> None:
        self._rows: deque[Row] = deque(maxlen=shown)
        self._counts = counts
        self._lock = threading.Lock()

    def add(self, row: Row) -> None:
        """Show one more row."""
        with self._lock:
            self._rows.append(row)

    def __rich__(self) -> Table:
        with self._lock:
            rows = list(self._rows)
        table = Table(caption=self._caption(), caption_justify="left")
        for heading in HEADINGS:
            table.add_column(heading, justify="right" if heading in RIGHT else "left")
        for row in rows:
            table.add_row(*map(Text, cells(row)), style=_style(row))
        return table

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


def edge(row: Row) -> str:
    """Return whose edge it is, as far as known."""
    return "" if isinstance(row.outcome, Rejected) else f"{row.outcome.absorber} {row.outcome.edge}"


def words(row: Row) -> str:
    """Return flags, or why there is no answer."""
    if row.error is not None:
        return f"{row.status}: {row.error}"
    if isinstance(row.outcome, Rejected):
        return f"{row.status}: {row.outcome.reason}: {row.outcome.detail}"
    return ", ".join(row.flags)


def figures_text(answer: Answered | None) -> tuple[str, str, str]:
    """Return mean CN with its interval, the 90 % set of a site's CN, and mean bond likewise."""
    if answer is None:
        return DASH, DASH, DASH
    cn, bond = CN.read(answer), BOND.read(answer)
    mean = f"{CN.text(cn)} {CN.interval_text(cn)}".rstrip()
    return mean, CN.bounds_text(cn), f"{BOND.text(bond)} {BOND.bounds_text(bond)}".rstrip()


def _style(row: Row) -> str:
    return {State.FAILED: "red", State.REJECTED: "yellow"}.get(row.status, "")
