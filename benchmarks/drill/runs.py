"""The runs that drills send: of one spectrum each, every tenth one without an edge."""

import random
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from nearedge.sim import hostile
from nearedge.sim.hostile import Document, Documents

REJECTED_EVERY = 10
POINTS = 60


def runs(n: int, *, whole: bool = False, time: float | None = None) -> list[Documents]:
    """Return runs of different spectra; those whose turn it is have no edge, and are rejected."""
    return [one_run(i, whole=whole, time=time) for i in range(n)]


def one_run(i: int, *, whole: bool = False, time: float | None = None) -> Documents:
    """Return the i-th run."""
    import time as clock

    began = clock.time() if time is None else time
    if i % REJECTED_EVERY == REJECTED_EVERY // 2:
        energy = np.linspace(hostile.ONSET - 30.0, hostile.ONSET + 60.0, POINTS)
        flat = np.ones(POINTS)
        return hostile.run_of(energy, flat, scan_id=i, whole=whole, time=began)
    return hostile.good_run(i, points=POINTS, whole=whole, time=began)


def uid_of(docs: Documents) -> str:
    """Return the uid of a run."""
    return str(docs[0][1]["uid"])


def long_run(points: int, *, page: int = 500) -> Documents:
    """Return a noisy run of many points, ``page`` of them in each document."""
    energy = np.linspace(hostile.ONSET - 60.0, hostile.ONSET + 120.0, points)
    mu = hostile.absorption(energy) + np.random.default_rng(0).normal(0.0, 0.005, points)
    (_, start), (_, descriptor), *_, (_, stop) = one_run(0)
    docs: Documents = [("start", start), ("descriptor", descriptor)]
    for begin in range(0, points, page):
        seqs = range(begin + 1, min(begin + page, points) + 1)
        part = slice(begin, begin + page)
        docs.append(
            (
                "event_page",
                {
                    "descriptor": descriptor["uid"],
                    "uid": [f"{descriptor['uid']}-{seq}" for seq in seqs],
                    "seq_num": list(seqs),
                    "time": [start["time"] + 1e-3 * seq for seq in seqs],
                    "data": {"mono": energy[part], "mu": mu[part]},
                    "timestamps": {},
                    "filled": {},
                },
            )
        )
    return [*docs, ("stop", {**stop, "num_events": {"primary": points}})]


def without_readings(docs: Documents) -> Documents:
    """Return a run that ended before its first reading, which is rejected."""
    kept = [(name, doc) for name, doc in docs if name != "event"]
    return [(n, {**d, "num_events": {}} if n == "stop" else d) for n, d in kept]


def interleaved(many: Sequence[Documents], rng: random.Random) -> Iterator[Document]:
    """Yield the documents of several runs in a random order that keeps each run's own."""
    rests = [iter(docs) for docs in many]
    turns = [i for i, docs in enumerate(many) for _ in docs]
    rng.shuffle(turns)
    for i in turns:
        yield next(rests[i])


def dropped(docs: Iterable[Document], rng: random.Random, *, share: float) -> Iterator[Document]:
    """Yield documents, some of them missing."""
    return (doc for doc in docs if rng.random() >= share)


def duplicated(docs: Iterable[Document], rng: random.Random, *, share: float) -> Iterator[Document]:
    """Yield documents, some of them twice."""
    for doc in docs:
        yield doc
        if rng.random() < share:
            yield doc


def displaced(docs: Iterable[Document], rng: random.Random, *, by: int) -> list[Document]:
    """Return documents in another order: each up to ``by`` places from its own."""
    keyed = [(i + rng.uniform(0, by), doc) for i, doc in enumerate(docs)]
    return [doc for _, doc in sorted(keyed, key=lambda pair: pair[0])]
