import os
import pty
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

import pytest

from nearedge.streaming.commands.starting import LOADING, await_ready, starting

ENVIRON = os.environ | {"NEAREDGE__BUS__ADDRESS": "127.0.0.1:0"}  # beside a service that runs
RUN = [sys.executable, "-u", "-m", "nearedge.streaming", "run", "-c", "sim"]


def progress_at(address: str) -> str:
    """Return what the address says while there is no page yet."""
    with pytest.raises(urllib.error.HTTPError, match="503") as answer:
        urllib.request.urlopen(address, timeout=20)
    with answer.value:
        return answer.value.read().decode()


def test_the_address_is_said_before_anything_is_loaded():
    said = []
    with starting(0, said.append) as tell:
        address = said[0].removeprefix("the live page: ")
        assert said[1:] == [LOADING] and LOADING in progress_at(address)
        tell("starting <this> …")
        assert said[-1] == "starting <this> …"
        assert "starting &lt;this&gt; …" in progress_at(address)


def test_without_a_page_the_steps_are_said_all_the_same():
    said = []
    with starting(None, said.append) as tell:
        tell("starting this …")
    assert said == [LOADING, "starting this …"]


class Comes:
    """A service whose worker comes at the second look."""

    def __init__(self) -> None:
        self._problems = ["no worker process runs", None]

    def checks(self) -> dict[str, str | None]:
        return {"ledger": None, "worker": self._problems.pop(0)}


def test_a_service_is_waited_for_unless_it_is_stopped():
    stopped = threading.Event()
    assert await_ready(Comes(), stopped)
    stopped.set()
    assert not await_ready(Comes(), stopped)


@contextmanager
def piped() -> Iterator[tuple[subprocess.Popen, Iterator[str]]]:
    """Run the service, and yield it with its lines on standard error."""
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(RUN, env=ENVIRON, text=True, **pipes) as run:
        yield run, run.stderr


@contextmanager
def in_a_terminal() -> Iterator[tuple[subprocess.Popen, Iterator[str]]]:
    """Run the service, and yield it with the lines that its terminal shows."""
    ours, theirs = pty.openpty()
    with (
        os.fdopen(ours, errors="replace") as terminal,
        subprocess.Popen(RUN, env=ENVIRON, stdin=theirs, stdout=theirs, stderr=theirs) as run,
    ):
        os.close(theirs)
        yield run, until_closed(terminal)


def until_closed(terminal: IO[str]) -> Iterator[str]:
    with suppress(OSError):  # so ends a terminal on Linux
        yield from terminal


@pytest.mark.system
@pytest.mark.parametrize("opened", [piped, in_a_terminal])
def test_the_service_shows_its_page_at_once_and_says_when_it_is_ready(opened):
    with opened() as (run, lines):
        try:
            shown = next(match[1] for line in lines if (match := re.search(r"page: (\S+)", line)))
            assert "nearedge starts: " in progress_at(shown)  # loading, unless we come late
            next(line for line in lines if "ready: waiting for runs at 127.0.0.1" in line)
            with urllib.request.urlopen(f"{shown}readyz", timeout=20) as answer:
                assert answer.status == 200
            run.send_signal(signal.SIGINT)
            assert "Traceback" not in "".join(lines) and run.wait(20) == 0
        finally:
            run.kill()
