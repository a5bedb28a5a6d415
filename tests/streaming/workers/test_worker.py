import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
from types import SimpleNamespace

import pytest

from nearedge.models import Quality
from nearedge.streaming.settings import profile
from nearedge.streaming.workers.worker import (
    Worker,
    WorkerDied,
    WorkerError,
    WorkerUnavailable,
    serve,
)
from tests.streaming.workers.conftest import INVERSION, spectrum

# A model that behaves as the absorber's name says: the worker's process imports it by name.
BAD_MODELS = (
    INVERSION
    + """
import os, signal, time

class BadModel:
    def invert(self, spectra, *, seeds, samples, quality):
        return [answer(s, n, samples, quality) for s, n in zip(spectra, seeds, strict=True)]

def answer(spectrum, seed, samples, quality):
    if spectrum.absorber == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if spectrum.absorber == "exit":
        os._exit(3)
    if spectrum.absorber == "hang":
        time.sleep(3600)
    if spectrum.absorber == "freeze":
        os.kill(os.getpid(), signal.SIGSTOP)
    if spectrum.absorber == "raise":
        raise ValueError("no such atom")
    return inversion(
        spectrum, model=str(os.getpid()), samples=samples, quality=quality, seed=seed
    )

def load(settings):
    return BadModel()

def load_nothing(settings):
    raise OSError("no such weights")

def load_and_die(settings):
    os._exit(9)
"""
)


@pytest.fixture
def bad_models(tmp_path, monkeypatch):
    (tmp_path / "bad_models.py").write_text(BAD_MODELS)
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("bad_models")
    sys.modules.pop("bad_models", None)


@pytest.fixture
def worker(bad_models):
    worker = Worker(profile.WorkerSettings(samples=3), load=bad_models.load, beat_lost_s=2.0)
    yield worker
    worker.close()


def test_a_batch_is_answered_in_order_with_its_seeds(worker):
    answers = worker.invert([spectrum("Si"), spectrum("O")], seeds=[5, 2**60])
    assert [(a.absorber, a.seed) for a in answers] == [("Si", 5), ("O", 2**60)]
    assert answers[0].samples.positions.shape == (3, 1, 3)
    assert answers[0].model != str(os.getpid())
    assert worker.restarts == 0


def test_samples_and_quality_can_be_asked_for(worker):
    (answer,) = worker.invert([spectrum()], seeds=[1], samples=2, quality=Quality.FAST)
    assert answer.samples.weights.shape == (2,)
    assert answer.quality is Quality.FAST


def test_an_error_keeps_the_process(worker):
    (before,) = worker.invert([spectrum()], seeds=[1])
    with pytest.raises(WorkerError, match="ValueError: no such atom") as caught:
        worker.invert([spectrum("raise")], seeds=[1])
    assert not isinstance(caught.value, WorkerDied)
    (after,) = worker.invert([spectrum()], seeds=[1])
    assert after.model == before.model


@pytest.mark.parametrize(("end", "how"), [("kill", "by signal 9"), ("exit", "with exit code 3")])
def test_a_dead_process_is_replaced(worker, end, how):
    (before,) = worker.invert([spectrum()], seeds=[1])
    with pytest.raises(WorkerDied, match=how):
        worker.invert([spectrum(end)], seeds=[1])
    (after,) = worker.invert([spectrum()], seeds=[1])
    assert after.model != before.model
    assert worker.restarts == 1


def test_a_process_killed_between_batches_is_replaced(worker):
    worker.invert([spectrum()], seeds=[1])
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerDied):
        worker.invert([spectrum()], seeds=[1])
    assert worker.invert([spectrum()], seeds=[1])


def test_a_process_that_hangs_is_replaced_after_the_time_limit(worker):
    worker.invert([spectrum()], seeds=[1])
    with pytest.raises(WorkerDied, match=r"no answer within 0\.2 s"):
        worker.invert([spectrum("hang")], seeds=[1], timeout_s=0.2)
    assert worker.invert([spectrum()], seeds=[1])


def test_a_process_that_stops_beating_is_replaced_before_the_time_limit(worker):
    with pytest.raises(WorkerDied, match="no life"):
        worker.invert([spectrum("freeze")], seeds=[1], timeout_s=60.0)
    assert worker.invert([spectrum()], seeds=[1])


def test_a_live_process_beats(worker):
    worker.invert([spectrum()], seeds=[1])
    assert 0 <= worker.beat_age_s < 2.0
    assert worker.problem is None


def test_a_process_that_cannot_work_is_a_problem(worker, monkeypatch):
    assert worker.problem == "no worker process runs"
    worker.invert([spectrum()], seeds=[1])
    monkeypatch.setattr(type(worker), "beat_age_s", 7.0)
    assert worker.problem == "the worker has shown no life for 7 s"


@pytest.mark.parametrize("load", ["load_nothing", "load_and_die"])
def test_a_model_that_does_not_load_is_nobodys_fault(bad_models, load):
    worker = Worker(profile.WorkerSettings(model="here"), load=getattr(bad_models, load))
    with pytest.raises(WorkerUnavailable, match=r"no such weights|did not start"):
        worker.invert([spectrum()], seeds=[1])
    worker.close()


def test_closing_ends_a_batch_at_once(worker):
    worker.invert([spectrum()], seeds=[1])
    caught = []

    def ask():
        try:
            worker.invert([spectrum("hang")], seeds=[1])
        except WorkerDied as e:
            caught.append(str(e))

    thread = threading.Thread(target=ask)
    thread.start()
    worker.close()
    thread.join(10.0)
    assert caught == ["the worker was closed"]


def test_a_process_that_is_let_go_while_it_loads_ends_quietly(monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    ours, theirs = multiprocessing.Pipe()
    ours.close()
    loaded = []
    serve(theirs, SimpleNamespace(value=0.0), profile.WorkerSettings(), loaded.append)
    assert len(loaded) == 1
    theirs.close()


def test_the_process_ends_with_its_service(bad_models, tmp_path):
    service = textwrap.dedent(
        f"""
        import sys; sys.path.insert(0, {str(tmp_path)!r})
        import os, bad_models
        from nearedge.streaming.settings import profile
        from nearedge.streaming.workers.worker import Worker
        if __name__ == "__main__":
            worker = Worker(profile.WorkerSettings(), load=bad_models.load)
            worker.start(); worker._make_ready()
            print(worker.pid, flush=True)
            os.kill(os.getpid(), 9)
        """
    )
    script = tmp_path / "service.py"
    script.write_text(service)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE) as process:
        # the worker holds the other end too: there is an end to read to only once it has gone
        output, _ = process.communicate(timeout=30)
    assert int(output) > 0
    assert process.returncode == -signal.SIGKILL


def test_ctrl_c_while_the_process_starts_is_for_the_service_alone(bad_models, tmp_path):
    service = textwrap.dedent(
        f"""
        import sys; sys.path.insert(0, {str(tmp_path)!r})
        import os, signal, bad_models
        from nearedge.streaming.settings import profile
        from nearedge.streaming.workers.worker import Worker
        if __name__ == "__main__":
            signal.signal(signal.SIGINT, lambda number, frame: None)
            worker = Worker(profile.WorkerSettings(), load=bad_models.load)
            worker.start()
            os.killpg(0, signal.SIGINT)
            worker._make_ready()
            worker.close()
        """
    )
    script = tmp_path / "service.py"
    script.write_text(service)
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        start_new_session=True,
        timeout=60,
        check=True,
    )
    assert b"Traceback" not in done.stderr


def test_the_service_side_never_imports_torch():
    code = "import sys, nearedge.streaming.workers.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
