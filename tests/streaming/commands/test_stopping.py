import os
import threading

import pytest

from nearedge.streaming.commands.stopping import ending_within


@pytest.fixture
def exits(monkeypatch) -> threading.Event:
    """Set when the process would have ended."""
    ended = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda code: ended.set())
    return ended


def test_a_block_that_hangs_after_a_stop_ends_with_the_process(exits):
    stopped = threading.Event()
    with ending_within(stopped, 0.01):
        stopped.set()
        assert exits.wait(20)


def test_what_hangs_after_the_block_ends_too(exits):
    stopped = threading.Event()
    with ending_within(stopped, 0.05):
        stopped.set()
    assert exits.wait(20)


def test_a_block_goes_on_for_as_long_as_nobody_asks_it_to_stop(exits):
    with ending_within(threading.Event(), 0):
        assert not exits.wait(0.05)
