import io
import re
from dataclasses import replace
from importlib import resources

import pytest
from rich.console import Console

from nearedge.models import Reason, Rejected
from nearedge.streaming.commands.table import (
    DOUBTS,
    HEADINGS,
    LiveTable,
    cells,
    flags_text,
    line,
    showing,
)
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.row import Row


@pytest.fixture
def row(measurement, spectrum, make_inversion) -> Row:
    return Row(
        key="k1",
        status=State.COMPLETE,
        measurement=measurement,
        outcome=spectrum,
        inversion=make_inversion(),
        error=None,
        stages={"wait": 0.5, "invert": 0.25},
    )


def text_of(row: Row) -> str:
    console = Console(file=io.StringIO(), width=160)
    table = LiveTable(counts=lambda: {State.QUEUED: 2, State.FAILED: 0})
    table(row)
    console.print(table)
    return console.file.getvalue()


def test_a_complete_row_tells_the_figures(row):
    shown = dict(zip(HEADINGS, cells(row), strict=True))
    assert shown["scan"] == "7"
    assert shown["edge"] == "Si K"
    assert (shown["CN"], shown["CN 90 %"]) == ("4.2 [4.0, 4.5]", "{4, 5}")
    assert shown["bond, Å"] == "1.620 [1.520, 1.720]"
    assert shown["flags"] == "gap, short-post-edge, partial"
    assert shown["latency, s"] == "0.75"


def test_a_doubtful_row_says_so(row):
    doubtful = replace(row.measurement, flags=("unlike-averaged",))
    assert "do not rely on it: unlike-averaged" in line(replace(row, measurement=doubtful))
    assert "do not rely" not in line(row)


def test_the_table_doubts_what_the_page_doubts():
    script = resources.files("nearedge.streaming.page") / "static" / "flags.js"
    loud = re.search(r"LOUD = new Set\(\[(.*?)\]\)", script.read_text("utf-8"), re.DOTALL)
    assert set(re.findall(r'"([^"]+)"', loud[1])) == DOUBTS


def test_brackets_are_no_markup_and_the_backlog_is_told(row):
    text = text_of(replace(row, error="[red]odd[/red]"))
    assert "[1.520, 1.720]" in text
    assert "[red]odd[/red]" in text
    assert "2 queued" in text
    assert "failed" not in text.splitlines()[-1]


def test_a_rejected_row_tells_the_reason(row):
    why = Rejected(reason=Reason.NO_EDGE, detail="nothing rises")
    told = line(replace(row, status=State.REJECTED, outcome=why, inversion=None))
    assert "rejected: no-edge: nothing rises" in told


def test_where_there_is_no_terminal_rows_are_lines(row):
    console = Console(file=io.StringIO(), width=20)
    with showing(console) as show:
        show(row)
    assert console.file.getvalue() == line(row) + "\n"


def test_on_a_terminal_rows_are_a_table_with_the_notes_below(row):
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    with showing(console, counts=dict) as show:
        show.note("the live page: http://127.0.0.1:1234/")
        show(row)
    last = console.file.getvalue().rpartition("CN 90 %")[2]
    assert "the live page: http://127.0.0.1:1234/" in last


def test_doubts_are_said_before_what_is_harmless():
    told = flags_text(["dark-subtracted", "not-explained", "gap", "out-of-distribution"])
    assert told == "do not rely on it: not-explained, out-of-distribution; dark-subtracted, gap"
    assert flags_text(["dark-subtracted"]) == "dark-subtracted"
    assert flags_text([]) == ""
