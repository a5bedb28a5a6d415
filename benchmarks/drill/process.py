"""Processes of a drill: started, stopped and killed by number, and what they hold in memory."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

LOOK_S = 0.02


def free_port() -> int:
    """Return a port of the loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(
    what: str, holds: Callable[[], object], *, timeout_s: float, look_s: float = LOOK_S
) -> None:
    """Wait for a condition, looking every so many seconds: a server that is asked works, too.

    Raises
    ------
    TimeoutError
        If it does not come to hold.
    """
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(look_s)


class Process:
    """A program with its log.

    Parameters
    ----------
    nice
        By how much what else the machine does comes before it.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        log: Path,
        environment: dict[str, str] | None = None,
        nice: int = 0,
    ) -> None:
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self.pid, self.log = self._popen.pid, log
        if nice:
            lower_priority(self.pid, nice)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._popen.send_signal(number)

    def kill(self) -> None:
        """End it as a crash does, and wait until it is gone."""
        self._popen.kill()
        self._popen.wait()

    def stop(self, *, timeout_s: float = 30.0) -> tuple[int, float]:
        """Ask it to end; return its exit code and how long it took, s. One that hangs is killed."""
        began = time.monotonic()
        self._popen.terminate()
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        return self._popen.returncode, time.monotonic() - began


def lower_priority(pid: int, nice: int) -> None:
    """Let everything else come before a process that leads a session, and before what it starts."""
    os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, 0) + nice)
    group = Path(f"/proc/{pid}/autogroup")
    if group.exists():  # then Linux shares the processor among sessions, whatever their processes
        group.write_text(str(nice))


def children(pid: int) -> list[int]:
    """Return the numbers of a process's children."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, task.read_text().split())
    return found


def worker_of(pid: int) -> int | None:
    """Return the number of the service's worker: the child that was spawned to serve."""
    for child in children(pid):
        line = Path(f"/proc/{child}/cmdline").read_bytes()
        if b"spawn_main" in line:
            return child
    return None


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used, s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ended_cpu_s() -> float:
    """Return the processor time of the processes started here that have ended, s."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rss_mb(pid: int) -> float:
    """Return the memory that a process holds, MB."""
    return _status_mb(pid, "VmRSS:")


def peak_mb(pid: int) -> float:
    """Return the most memory that a process has held, MB."""
    return _status_mb(pid, "VmHWM:")


def _status_mb(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0
