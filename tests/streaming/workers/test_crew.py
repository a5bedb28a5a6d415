from nearedge.models.answering.card import read_card
from nearedge.streaming.commands.opening import worker_of
from nearedge.streaming.settings import profile
from nearedge.streaming.workers.crew import Crew
from nearedge.streaming.workers.worker import Worker


class Member:
    def __init__(self, *, pid=None, age=None, restarts=-1, problem=None) -> None:
        self.pid, self.beat_age_s, self.restarts, self.problem = pid, age, restarts, problem
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")

    def close(self) -> None:
        self.calls.append("close")


def test_each_device_has_a_worker_of_its_own():
    card = read_card("siox")
    crew = worker_of(profile.WorkerSettings(device="cuda:0, cuda:1"), card=card)
    assert isinstance(crew, Crew)
    assert [member._settings.device for member in crew.members] == ["cuda:0", "cuda:1"]
    assert isinstance(worker_of(profile.WorkerSettings(device="cpu"), card=card), Worker)


def test_it_is_seen_as_one():
    first = Member(age=0.5, restarts=2, problem="no worker process runs")
    second = Member(pid=7, age=3.0, restarts=0)
    crew = Crew([first, second])
    assert (crew.pid, crew.beat_age_s, crew.restarts) == (7, 3.0, 2)
    assert crew.problem is None  # one that works is enough
    second.problem = "silent"
    assert crew.problem == "no worker process runs; silent"
    crew.start()
    crew.close()
    assert first.calls == second.calls == ["start", "close"]


def test_what_has_not_started_is_not_old():
    crew = Crew([Member(), Member()])
    assert (crew.pid, crew.beat_age_s, crew.restarts) == (None, None, 0)
