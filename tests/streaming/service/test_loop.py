"""A loop goes on after an error, and ends without an outcry when it is stopped."""

import logging
import threading

from nearedge.streaming.service.loop import Loop


def test_an_error_is_told_and_the_loop_goes_on(caplog):
    errors, again = [], threading.Event()

    def step():
        if errors:
            again.set()
            return None
        raise ValueError("refused")

    def note(name):
        errors.append(name)
        loop.ring()

    loop = Loop("writer", step, on_error=note)
    loop.start()
    assert again.wait(20)
    loop.stop()
    assert loop.join(20)
    assert errors == ["writer"]
    (record,) = caplog.records
    assert (record.levelno, record.exc_info is not None) == (logging.ERROR, True)


def test_what_a_stop_breaks_off_is_no_error(caplog):
    begun, closed, errors = threading.Event(), threading.Event(), []

    def step():
        begun.set()
        assert closed.wait(20)
        raise ValueError("the database is closed")

    loop = Loop("recovery", step, on_error=errors.append)
    loop.start()
    assert begun.wait(20)
    loop.stop()
    closed.set()
    assert loop.join(20)
    assert errors == []
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    assert "stopped in the midst of a step: the database is closed" in record.message
