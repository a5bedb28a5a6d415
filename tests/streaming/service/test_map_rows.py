"""Those who watch are told of a map in one line, not of its pixels."""

import io
from dataclasses import replace

import event_model
from rich.console import Console

from nearedge.callbacks.measurement import Run
from nearedge.streaming.commands.table import HEADINGS, LiveTable, map_cells, showing
from nearedge.streaming.ledger.map_row import MapRow, MapStatus
from nearedge.streaming.page.feed import Feed
from nearedge.streaming.service.notices import map_notice

ROW = MapRow(
    key="k",
    status=MapStatus.GROWING,
    run=Run(uid="abcdefghij", scan_id=7, time=1.0, start={"sample": "quartz"}),
    stream="primary",
    edge="Si K",
    shape=(10, 10),
    pixels=100,
    answered=40,
    rejected=5,
    measured=2.0,
    latency_s=1.25,
)
DONE = replace(ROW, status=MapStatus.COMPLETE, answered=90, rejected=10, flags=("aborted",))


def told(*rows):
    console = Console(file=io.StringIO(), width=160)
    with showing(console) as show:
        for row in rows:
            show.map(row)
    return console.file.getvalue().splitlines()


def test_a_map_has_a_line_with_its_progress():
    assert told(ROW) == [
        "scan 7  abcdefgh map  Si K  growing: 40 of 100 pixels (10 × 10), 5 rejected  1.25 s"
    ]
    assert len(map_cells(ROW)) == len(HEADINGS)


def test_a_map_that_was_not_measured_now_has_no_latency():
    (line,) = told(replace(ROW, latency_s=float("nan")))
    assert line.endswith("growing: 40 of 100 pixels (10 × 10), 5 rejected")


def test_some_lines_are_printed_while_it_grows_and_the_last():
    steps = [replace(ROW, answered=n, rejected=0) for n in range(1, 101)]
    lines = told(*steps, DONE)
    assert 5 < len(lines) < 12
    assert "complete: 90 of 100 pixels (10 × 10), 10 rejected; aborted" in lines[-1]


def test_a_live_table_keeps_one_line_for_a_map():
    console = Console(file=io.StringIO(), width=200)
    table = LiveTable()
    for row in (ROW, replace(ROW, key="other"), DONE):
        table.map(row)
    console.print(table)
    text = console.file.getvalue()
    assert text.count("abcdefgh map") == 2
    assert "complete: 90" in text


def test_the_bus_tells_how_far_it_is():
    docs = dict(map_notice(ROW))
    for name, doc in map_notice(ROW):
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
    assert docs["event"]["data"] == {
        **{"raw_uid": "abcdefghij", "stream": "primary", "spectrum": "map"},
        **{"status": "growing", "pixels": 100, "answered": 40, "rejected": 5},
    }
    assert docs["start"]["key"] == "k"


def test_the_feed_keeps_the_newest_state_of_each_map():
    feed = Feed()
    with feed.reader(lambda: None) as mailbox:
        feed.show_map(ROW)
        feed.show_map(DONE)
        ((name, shown),) = mailbox.take()
    assert (name, shown["status"], shown["answered"]) == ("map", "complete", 90)
    assert [one["key"] for one in feed.maps()] == ["k"]
    assert feed.maps()[0]["sample"] == "quartz"
