"""Questions in between never pile up, and go to a worker that has nothing to do."""

import threading
from types import SimpleNamespace

import pytest

from nearedge.streaming.service.on_demand import BusyError, OnDemand


class Held:
    """A worker that answers when it is let go."""

    def __init__(self, *, busy: bool = False) -> None:
        self.is_busy = busy
        self.asked = threading.Event()
        self.go = threading.Event()
        self.seeds: list[int] = []

    def invert(self, spectra, *, seeds):
        self.seeds += seeds
        self.asked.set()
        assert self.go.wait(20)
        return list(spectra)


def test_one_is_answered_one_waits_and_the_next_is_told_so():
    worker = Held()
    asked = OnDemand(worker, clock=iter(range(100)).__next__)
    answers = []
    threads = [
        threading.Thread(target=lambda k=k: answers.append(asked.invert(f"s{k}", seed=k)[0]))
        for k in range(2)
    ]
    threads[0].start()
    assert worker.asked.wait(20)
    threads[1].start()
    while asked._places._value:  # until the second has its place
        threading.Event().wait(0.001)
    with pytest.raises(BusyError, match="ask again"):
        asked.invert("s2", seed=2)
    worker.go.set()
    for thread in threads:
        thread.join(20)
    assert sorted(answers) == ["s0", "s1"]
    assert worker.seeds == [0, 1]


def test_a_question_does_not_wait_for_ever():
    worker = Held()
    asked = OnDemand(worker, patience_s=0.01)
    first = threading.Thread(target=lambda: asked.invert("s0", seed=0))
    first.start()
    assert worker.asked.wait(20)
    with pytest.raises(BusyError, match=r"0\.01 s"):
        asked.invert("s1", seed=1)
    worker.go.set()
    first.join(20)


def test_an_idle_worker_is_asked():
    busy, idle = Held(busy=True), Held()
    idle.go.set()
    answer, _ = OnDemand(SimpleNamespace(members=(idle, busy))).invert("s", seed=7)
    assert answer == "s"
    assert (idle.seeds, busy.seeds) == ([7], [])
