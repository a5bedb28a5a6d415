"""A Dask scheduler and workers, each a process that a drill may kill."""

from pathlib import Path

from benchmarks.drill.process import Process, free_port


class Cluster:
    """A scheduler at a fixed port, and its workers of one thread each.

    Parameters
    ----------
    folder
        Of the logs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self.address = f"tcp://127.0.0.1:{self._port}"
        self.workers: list[Process] = []
        self.start_scheduler()

    def start_scheduler(self) -> None:
        """Run a scheduler at the same port as before."""
        where = ("--host", "127.0.0.1", "--port", str(self._port), "--no-dashboard")
        self.scheduler = self._run("scheduler", *where)

    def add_worker(self) -> None:
        """Run one more worker."""
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard")
        self.workers.append(self._run("worker", self.address, *options))

    def _run(self, *arguments: str) -> Process:
        return Process(["-m", "dask", *arguments], log=self._folder / "dask.log")

    def close(self) -> None:
        """End all of it."""
        for process in (*self.workers, self.scheduler):
            process.kill()
