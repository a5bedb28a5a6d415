"""Clusters of pixels are drawn while nothing measured waits, and no pixel is lost or blamed."""

from types import SimpleNamespace

import httpx
import pytest

from nearedge.streaming.ledger.job import Place, State
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.service.pixel_drawing import AWAY_S, BUSY_S, LOOK_S, PixelDrawing
from nearedge.streaming.workers.worker import WorkerDied, WorkerError, WorkerUnavailable


class PaperMap:
    """A map of numbered pixels; those of a script have no spectrum."""

    key = "m"

    def __init__(self, pixels: int, *, refused=(), script=()) -> None:
        self.left, self.done = list(range(pixels)), {}
        self._refused, self.script = refused, list(script)

    def waiting(self, most):
        return self.left[:most]

    def place(self, pixel):
        return (pixel,)

    def spectrum(self, pixel):
        if pixel in self._refused:
            raise ValueError("found 3 energies; expected 8 or more")
        return f"s{pixel}"

    def seed(self, pixel):
        return 100 + pixel

    def put(self, found):
        if self.script:
            raise self.script.pop(0)
        self.done |= found
        self.left = [pixel for pixel in self.left if pixel not in found]


class PaperStore:
    """Gives each map once, until all are to be looked at anew."""

    def __init__(self, *maps, script=()) -> None:
        self.maps, self.fresh, self.script = maps, list(maps), list(script)

    def find(self):
        if self.script:
            raise self.script.pop(0)
        while self.fresh:
            if (found := self.fresh.pop(0)).left:
                return found
        return None

    def forget(self):
        self.fresh = list(self.maps)


class SeedWorker:
    """A worker whose first answers are the errors of a script, and which dies of some seeds."""

    def __init__(self, *script, poison=(), dies=WorkerError) -> None:
        self.is_busy = False
        self.script, self.poison, self.dies = list(script), poison, dies
        self.batches = []

    def invert(self, spectra, *, seeds):
        self.batches.append(list(seeds))
        if self.script:
            raise self.script.pop(0)
        if set(seeds) & set(self.poison):
            raise self.dies("it cannot be inverted")
        return [SimpleNamespace(samples=f"{s} {k}") for s, k in zip(spectra, seeds, strict=True)]


@pytest.fixture
def ledger():
    return Ledger(":memory:")


def drawing_of(ledger, worker, *maps, batch=2, script=()):
    store = PaperStore(*maps, script=script)
    return PixelDrawing(backlog=ledger.backlog, workers=[worker], store=store, batch=batch)


def until_idle(drawing):
    """Take steps until nothing is left; return how many."""
    for count in range(1, 50):
        if (wait_s := drawing.step()) == LOOK_S:
            return count
        assert wait_s == 0
    raise AssertionError("it does not come to an end")


def test_all_pixels_of_all_maps_are_drawn_in_batches(ledger):
    one, other, worker = PaperMap(3), PaperMap(2), SeedWorker()
    until_idle(drawing_of(ledger, worker, one, other))
    assert one.done == {0: "s0 100", 1: "s1 101", 2: "s2 102"}
    assert other.done == {0: "s0 100", 1: "s1 101"}
    assert worker.batches == [[100, 101], [102], [100, 101]]


def test_without_maps_it_is_never_called_again(ledger):
    drawing = PixelDrawing(backlog=ledger.backlog, workers=[SeedWorker()], store=None, batch=2)
    assert drawing.step() is None


def test_what_was_measured_comes_first(ledger):
    own, worker = PaperMap(4), SeedWorker()
    drawing = drawing_of(ledger, worker, own)
    assert [drawing.step(), drawing.step()] == [0, 0]
    place = Place(run_uid="r", scan_id=1, stream="primary", spectrum="0")
    ledger.submit("k", place, b"")
    assert [drawing.step(), drawing.step()] == [BUSY_S, BUSY_S]
    assert worker.batches == [[100, 101]]
    (job,) = ledger.queue.claim(lease_s=9.0)
    assert drawing.step() == BUSY_S
    ledger.queue.store(job, b"")
    (job,) = ledger.queue.claim_write(lease_s=9.0)
    assert drawing.step() == BUSY_S
    ledger.queue.finish(job)
    assert ledger.backlog.counts()[State.COMPLETE] == 1
    until_idle(drawing)
    assert worker.batches == [[100, 101], [102, 103]]


def test_a_busy_worker_is_left_alone(ledger):
    worker, other = SeedWorker(), SeedWorker()
    store = PaperStore(PaperMap(2))
    drawing = PixelDrawing(backlog=ledger.backlog, workers=[other, worker], store=store, batch=2)
    other.is_busy = True
    assert drawing.step() == BUSY_S
    other.is_busy = False
    until_idle(drawing)
    assert (worker.batches, other.batches) == ([[100, 101]], [])


def test_a_pixel_without_a_spectrum_has_no_clusters(ledger, caplog):
    own = PaperMap(3, refused=[0, 1])
    until_idle(drawing_of(ledger, SeedWorker(), own))
    assert own.done == {0: None, 1: None, 2: "s2 102"}
    assert caplog.text.count("has no clusters: found 3 energies") == 2


@pytest.mark.parametrize("error", [WorkerError, WorkerDied])
def test_of_a_batch_that_fails_only_the_culprit_has_no_clusters(error, ledger, caplog):
    own, worker = PaperMap(5), SeedWorker(poison=[101], dies=error)
    until_idle(drawing_of(ledger, worker, own, batch=3))
    assert own.done == {0: "s0 100", 1: None, 2: "s2 102", 3: "s3 103", 4: "s4 104"}
    assert worker.batches == [[100, 101, 102], [100], [101], [102], [103, 104]]
    assert caplog.text.count("the pixel (1,) has no clusters") == 1


def test_a_worker_that_was_killed_once_loses_no_pixel(ledger):
    own = PaperMap(1)
    until_idle(drawing_of(ledger, SeedWorker(WorkerDied("killed")), own))
    assert own.done == {0: "s0 100"}


def test_a_worker_that_is_stopped_blames_no_pixel(ledger):
    worker = SeedWorker(WorkerDied("closed"), WorkerDied("closed"), WorkerDied("closed"))
    own = PaperMap(1)
    drawing = drawing_of(ledger, worker, own)
    drawing.stop()
    assert [drawing.step() for _ in range(4)] == [0, 0, 0, 0]
    assert (own.done, worker.script) == ({}, [])


def test_an_unavailable_worker_is_waited_for(ledger):
    own = PaperMap(2)
    drawing = drawing_of(ledger, SeedWorker(*[WorkerUnavailable("no model")] * 3), own)
    assert [drawing.step() for _ in range(4)] == [0, AWAY_S, AWAY_S, AWAY_S]
    assert own.done == {}
    until_idle(drawing)
    assert own.done == {0: "s0 100", 1: "s1 101"}


def test_a_catalog_that_is_away_is_waited_for(ledger):
    own = PaperMap(2, script=[httpx.ConnectError("away")])
    drawing = drawing_of(ledger, SeedWorker(), own, script=[httpx.ConnectError("away")])
    assert [drawing.step() for _ in range(3)] == [AWAY_S, 0, AWAY_S]
    until_idle(drawing)
    assert own.done == {0: "s0 100", 1: "s1 101"}


def test_a_map_that_cannot_be_written_holds_up_no_other(ledger, caplog):
    broken, own = PaperMap(2, script=[KeyError("gone")]), PaperMap(2)
    drawing = drawing_of(ledger, SeedWorker(), broken, own)
    assert [drawing.step() for _ in range(2)] == [0, AWAY_S]
    until_idle(drawing)
    assert (broken.done, set(own.done)) == ({}, {0, 1})
    assert caplog.text.count("a map gets no clusters") == 1
