"""Inversion by the workers of a Dask scheduler: a local cluster whose every part is a process."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from nearedge.callbacks.instrument import Instrument
from nearedge.models import Quality, Technique
from nearedge.models.answering.cards import read_cards
from nearedge.models.many_spectra import Spectra
from nearedge.streaming.commands.opening import worker_of
from nearedge.streaming.settings import profile
from nearedge.streaming.settings.exposure import scheduler_exposure
from nearedge.streaming.workers.dask_worker import DaskWorker, task_key
from nearedge.streaming.workers.pixels import answer_block
from nearedge.streaming.workers.worker import WorkerDied, WorkerError, WorkerUnavailable
from tests.streaming.workers.conftest import INVERSION, spectrum

# A model that tells who it is: the answer's `model` is the process, its `misfit` counts the calls.
MODELS = (
    INVERSION
    + """
import os, time
from pathlib import Path
from types import SimpleNamespace
from nearedge.models.answering.heads import UNFITTED, Heads
from nearedge.models.parts.condition import GRID

class Model:
    cards = SimpleNamespace(grid=GRID)

    def supports(self, absorber, edge):
        return edge == "K"

    def heads(self, read, *, absorber, edge, elements):
        if absorber == "S":
            raise ValueError("no such atom")
        mark(f"pixels-{os.getpid()}")
        while absorber == "P" and len(list(HERE.glob("pixels-*"))) < 2:  # the other is at work
            time.sleep(0.01)
        rows = np.arange(len(read.rows))
        one = np.ones(len(rows))
        return Heads(cn=np.eye(7)[rows % 7], bond=1.5 + 0.01 * rows, bond_spread=0.01 * one,
            cosine=-0.3 * one, cosine_spread=0.01 * one, distance=0.1 * one, threshold=1.0,
            calibration=UNFITTED, model="weights", species=("O",))

    def invert(self, spectra, *, seeds, samples, quality):
        return [answer(s, n, samples, quality) for s, n in zip(spectra, seeds, strict=True)]

def answer(spectrum, seed, samples, quality):
    if spectrum.absorber == "raise":
        raise ValueError("no such atom")
    if spectrum.absorber == "kill":
        os._exit(9)
    if spectrum.absorber == "slow":  # until the test says so
        mark(f"began-{seed}-{os.getpid()}")
        while not (HERE / "go").exists():
            time.sleep(0.01)
    mark(f"called-{seed}-{time.monotonic_ns()}")
    return inversion(spectrum, model="weights", samples=samples, quality=quality, seed=seed)

HERE = Path(__file__).parent

def mark(name):
    (HERE / name).touch()

def load(settings):
    mark(f"loaded-{os.getpid()}")
    return Model()
"""
)

pytestmark = [
    pytest.mark.system,
    # of Dask and tornado, when connections are cut
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Cluster:
    """A scheduler and workers, started as `dask scheduler` and `dask worker` do."""

    def __init__(self, folder) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self._port}"
        self.workers: list[subprocess.Popen] = []
        self.start_scheduler()

    def start_scheduler(self) -> None:
        self.scheduler = self._run(
            *("scheduler", "--host", "127.0.0.1", "--port", str(self._port), "--no-dashboard"),
        )

    def add_worker(self) -> None:
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "60")
        self.workers.append(self._run("worker", self.address, *options))

    def _run(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments],
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": str(self.folder),
                # a worker that dies with a task is seldom the task's fault here
                "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
                "DASK_DISTRIBUTED__DASHBOARD__LINK": "",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def models(tmp_path, monkeypatch):
    (tmp_path / "dask_models.py").write_text(MODELS)
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("dask_models")
    sys.modules.pop("dask_models", None)


@pytest.fixture
def cluster(tmp_path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


@pytest.fixture
def worker(cluster, models) -> Iterator[DaskWorker]:
    settings = profile.WorkerSettings(backend="dask", scheduler=cluster.address, samples=3)
    worker = DaskWorker(settings, load=models.load, models=["weights", "more"], connect_s=30.0)
    yield worker
    worker.close()


def until(holds, *, timeout_s: float = 60.0) -> None:
    """Wait for what other processes do."""
    waiting, deadline = threading.Event(), timeout_s
    while not holds():
        assert deadline > 0, "not in time"
        waiting.wait(0.05)
        deadline -= 0.05


def inverted(worker: DaskWorker, spectra, **more):
    """Invert as soon as there is somebody who does."""
    answers: list = []

    def tried() -> bool:
        try:
            answers.extend(worker.invert(spectra, **more))
        except WorkerUnavailable:
            return False
        return True

    until(tried)
    return answers


def marks(cluster: Cluster, kind: str) -> set[str]:
    return {path.name for path in cluster.folder.glob(f"{kind}-*")}


def test_a_batch_is_answered_in_order_by_models_loaded_once(cluster, worker):
    cluster.add_worker()
    answers = inverted(worker, [spectrum("Si"), spectrum("O")], seeds=[5, 2**50], keys=["a", "b"])
    assert [(a.absorber, a.seed) for a in answers] == [("Si", 5), ("O", 2**50)]
    assert answers[0].samples.positions.shape == (3, 1, 3)
    assert worker.problem is None
    (fast,) = worker.invert([spectrum()], seeds=[1], keys=["a"], samples=2, quality=Quality.FAST)
    assert (fast.samples.weights.shape, fast.quality) == ((2,), Quality.FAST)
    with pytest.raises(WorkerError, match="ValueError: no such atom") as caught:
        worker.invert([spectrum("raise")], seeds=[1], keys=["c"])
    assert type(caught.value) is WorkerError
    assert len(marks(cluster, "loaded")) == 1
    assert worker.restarts == 0


EDGES = {"Si": 1839.0, "P": 2145.5, "S": 2472.0}


def block(absorber: str = "Si", *, count: int = 3) -> Spectra:
    """Return the pixels of a block, each with another white line."""
    energy = EDGES[absorber] + np.arange(-40.0, 80.0)
    x = energy - EDGES[absorber] - 5.0
    step, line = np.arctan(x) / np.pi + 0.5, np.exp(-((x / 3.0) ** 2))
    mu = np.array([0.1 + step + (1.0 + 0.2 * k) * line for k in range(count)])
    return Spectra(energy=energy, mu=mu, technique=Technique.XANES, absorber=absorber, edge="K")


TOLD = Instrument(composition="SiO2").model_dump_json()


def pixels(worker: DaskWorker, blocks):
    """Have blocks answered as soon as there is somebody who does."""
    answers: list = []

    def tried() -> bool:
        try:
            answers.extend(worker.answer_pixels(blocks, instrument=TOLD))
        except WorkerUnavailable:
            return False
        return True

    until(tried)
    return answers


def test_blocks_of_a_map_are_answered_in_order_as_they_are_here(cluster, worker, models):
    cluster.add_worker()
    blocks = [block(count=count) for count in (3, 1, 5)]
    found = pixels(worker, blocks)
    assert [len(one) for one in found] == [3, 1, 5]
    for one, spectra in zip(found, blocks, strict=True):
        here = answer_block(models.Model(), spectra, TOLD)
        assert np.array_equal(one.figures, here.figures)
        assert np.array_equal(one.norm, here.norm)
        assert (one.flags, one.model) == (here.flags, "weights")
        assert one.answered == len(spectra)
    with pytest.raises(WorkerError, match="ValueError: no such atom"):
        worker.answer_pixels([block("S")], instrument=TOLD)


def test_blocks_of_a_map_go_to_all_workers(cluster, worker):
    assert worker.blocks_at_once == profile.WorkerSettings().batch > 1
    for _ in range(2):
        cluster.add_worker()
    pixels(worker, [block()])
    until(lambda: len(worker._connected().nthreads()) == 2)
    for path in cluster.folder.glob("pixels-*"):
        path.unlink()
    answers = pixels(worker, [block("P") for _ in range(4)])
    assert [one.answered for one in answers] == [3] * 4
    assert len(marks(cluster, "pixels")) == 2


def test_pixels_of_other_weights_are_refused(cluster, models):
    cluster.add_worker()
    settings = profile.WorkerSettings(backend="dask", scheduler=cluster.address)
    other = DaskWorker(settings, load=models.load, models=["other"], connect_s=30.0)
    told: list = []

    def refused() -> bool:
        with pytest.raises(WorkerUnavailable) as caught:
            other.answer_pixels([block()], instrument=TOLD)
        told.append(str(caught.value))
        return told[-1].startswith("a worker of")

    until(refused)
    assert "has the model weights, expected other" in told[-1]
    other.close()


def test_a_worker_that_dies_has_its_task_done_by_another(cluster, worker):
    cluster.add_worker()
    inverted(worker, [spectrum()], seeds=[1])
    with ThreadResult(worker.invert, [spectrum("slow")], seeds=[7], keys=["k"]) as result:
        until(lambda: marks(cluster, "began-7"))
        cluster.add_worker()
        cluster.workers[0].kill()
        (cluster.folder / "go").touch()
    assert [answer.seed for answer in result.value] == [7]
    assert len(marks(cluster, "began-7")) == 2
    assert len(marks(cluster, "called-7")) == 1


def test_a_spectrum_that_kills_its_workers_is_blamed(cluster, worker):
    for _ in range(3):
        cluster.add_worker()
    inverted(worker, [spectrum()], seeds=[1])
    with pytest.raises(WorkerDied, match="died of it"):
        worker.invert([spectrum("kill")], seeds=[1], keys=["k"])
    assert inverted(worker, [spectrum()], seeds=[2])[0].seed == 2


def test_a_scheduler_that_dies_is_nobodys_fault_and_is_connected_again(cluster, worker):
    cluster.add_worker()
    inverted(worker, [spectrum()], seeds=[1])
    with ThreadResult(worker.invert, [spectrum("slow")], seeds=[7], keys=["k"]) as result:
        until(lambda: marks(cluster, "began-7"))
        cluster.scheduler.send_signal(signal.SIGKILL)
        cluster.scheduler.wait()
    assert isinstance(result.error, WorkerUnavailable)
    (cluster.folder / "go").touch()
    cluster.start_scheduler()
    cluster.add_worker()
    assert inverted(worker, [spectrum("slow")], seeds=[7], keys=["k"])[0].seed == 7
    assert worker.restarts >= 1


def test_without_scheduler_or_workers_nobody_is_to_blame(cluster, models):
    settings = profile.WorkerSettings(backend="dask", scheduler="tcp://127.0.0.1:9")
    alone = DaskWorker(settings, load=models.load, connect_s=0.5)
    with pytest.raises(WorkerUnavailable, match="cannot be used"):
        alone.invert([spectrum()], seeds=[1])
    assert "not connected" in alone.problem
    alone.close()
    with pytest.raises(WorkerDied, match="closed"):
        alone.invert([spectrum()], seeds=[1])
    settings = settings.model_copy(update={"scheduler": cluster.address})
    empty = DaskWorker(settings, load=models.load, connect_s=30.0)
    with pytest.raises(WorkerUnavailable, match="no worker is with"):
        empty.invert([spectrum()], seeds=[1])
    empty.close()


def test_workers_with_other_weights_are_refused(cluster, models):
    cluster.add_worker()
    settings = profile.WorkerSettings(backend="dask", scheduler=cluster.address)
    other = DaskWorker(settings, load=models.load, models=["other"], connect_s=30.0)
    until(lambda: _refusal(other).startswith("a worker of"))
    other.close()


def _refusal(worker: DaskWorker) -> str:
    try:
        worker.invert([spectrum()], seeds=[1])
    except WorkerUnavailable as e:
        return str(e)
    return ""


def test_closing_ends_a_batch(cluster, worker):
    cluster.add_worker()
    inverted(worker, [spectrum()], seeds=[1])
    with ThreadResult(worker.invert, [spectrum("slow")], seeds=[7]) as result:
        until(lambda: marks(cluster, "began-7"))
        worker.close()
    assert isinstance(result.error, WorkerDied)
    assert str(result.error) == "the worker was closed"


class ThreadResult:
    """Calls a function in a thread; at the end of the block it has returned or raised."""

    def __init__(self, function, *args, **more) -> None:
        self.value = self.error = None
        self._call = lambda: function(*args, **more)

    def _run(self) -> None:
        try:
            self.value = self._call()
        except Exception as e:
            self.error = e

    def __enter__(self) -> "ThreadResult":
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._thread.join(60)


USUAL = profile.WorkerSettings(samples=16)


def test_a_task_has_the_key_of_its_result_unless_its_answer_is_another():
    assert task_key("abc", settings=USUAL, usual=USUAL) == "abc"
    fast = USUAL.model_copy(update={"samples": 4, "quality": Quality.FAST})
    assert task_key("abc", settings=fast, usual=USUAL) == "abc-fast-4"
    assert task_key(None, settings=USUAL, usual=USUAL) != task_key(
        None, settings=USUAL, usual=USUAL
    )


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({}, "worker.scheduler is not set"),
        ({"scheduler": "tcp://127.0.0.1:8786"}, None),
        ({"scheduler": "tcp://gpu7:8786"}, "could run code here"),
        ({"scheduler": "tls://gpu7:8786"}, None),
        ({"scheduler": "tcp://gpu7:8786", "trust_network": True}, None),
    ],
)
def test_a_scheduler_elsewhere_needs_encryption_or_trust(settings, wrong):
    settings = profile.WorkerSettings(backend="dask", **settings)
    problem = scheduler_exposure(settings)
    assert problem is None if wrong is None else wrong in problem
    if wrong:
        with pytest.raises(ValueError, match=wrong):
            DaskWorker(settings)


def test_each_of_several_models_may_answer():
    cards = read_cards("siox+any")
    settings = profile.WorkerSettings(backend="dask", scheduler="tcp://127.0.0.1:9")
    worker = worker_of(settings, card=cards)
    for card in cards.cards:
        worker._refuse_others(card.digest)
    with pytest.raises(WorkerUnavailable, match="install the same nearedge"):
        worker._refuse_others(cards.digest)
