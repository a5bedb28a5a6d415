"""Send every kind of run, wait for what comes of it, and count."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.beamlines.beamline import Beamline
from benchmarks.beamlines.case import Case, Sent
from benchmarks.beamlines.programs import Programs, Service
from benchmarks.drill.process import wait_until
from nearedge.streaming.acquisition import Answers

SETTLE_S = 240.0
LOOK_S = 2.0
FINAL = ("complete", "rejected")
PROFILES: dict[str, tuple[str, dict[str, Any]]] = {
    "transmission": (
        "xanes-transmission",
        {
            "roles": {
                "energy": "mono_energy",
                "i0": "ion_chamber_1",
                "it": "ion_chamber_2",
                "ir": None,
                "context": ["sample_x"],
            },
            "partial_every_s": 1.0,
        },
    ),
    "fluorescence": (
        "xanes-fluorescence",
        {
            "roles": {
                "energy": "mono_energy",
                "i0": "ion_chamber_1",
                "if_": ["xs_channel1", "xs_channel2"],
                "icr": [],
                "ocr": [],
                "roi": [100, 120],
                "context": [],
            }
        },
    ),
    "fly": (
        "xanes-transmission",
        {
            "roles": {
                "energy": "mono_energy",
                "i0": "ion_chamber_1",
                "it": "ion_chamber_2",
                "ir": None,
                "context": [],
            },
            "finish": {"when": "event"},
        },
    ),
}
"""By name of the trial's profile: the shipped one below it, and what of the instrument differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a kind of run.

    Attributes
    ----------
    title, profile
        Of the case.
    sent, complete, rejected, left_out, lost
        Spectra; a run that is to be left out counts as one.
    amiss
        What came otherwise than expected, in words.
    told
        Reasons of rejections and flags of answers, with their numbers.
    """

    title: str
    profile: str
    sent: int
    complete: int
    rejected: int
    left_out: int
    lost: int
    amiss: str = ""
    told: Counter[str] = field(default_factory=Counter)

    @property
    def good(self) -> bool:
        """Whether nothing is lost, and all is as expected."""
        return not (self.lost or self.amiss)


def tried(programs: Programs, name: str, cases: Sequence[Case]) -> list[Verdict]:
    """Send the runs of a profile through a service of its own; return what came of them."""
    shipped, instrument = PROFILES[name]
    service = Service(programs, name, shipped=shipped, instrument=instrument)
    line = Beamline(programs.inward, prefix=name, raw=programs.raw(name), folder=programs.frames)
    sent = {one.title: one.send(line) for one in cases if one.early}
    service.start()
    answers = Answers(service.bus)
    try:
        await_heard(line, service, answers)
        for one in cases:
            if not one.early:
                sent[one.title] = one.send(line)
        uids = {run.uid: run for runs in sent.values() for run in runs}
        await_ends(programs.results(name), uids, answers)
        code, seconds = service.process.stop()
        if code != 0:
            raise RuntimeError(f"the service ended with {code} after {seconds:.1f} s")
        found = results_of(programs.results(name))
        return [verdict(one, sent[one.title], found, answers) for one in cases]
    finally:
        answers.close()
        line.publisher.close()
        service.process.kill()


def await_heard(line: Beamline, service: Service, answers: Answers) -> None:
    """Publish until the service hears it, and until it is heard."""

    def heard() -> bool:
        line.publish([("stop", {"uid": "end", "run_start": "probe", "time": 0.0})])
        return 'nearedge_documents_total{name="stop"}' in service.metrics()

    wait_until("a document", heard, timeout_s=60.0)
    wait_until("a heartbeat", answers.heard.is_set, timeout_s=60.0)


def results_of(results: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the metadata of the finished results of each run."""
    found: dict[str, list[dict[str, Any]]] = {}
    for _, node in results.items():
        metadata = dict(node.metadata)
        if metadata.get("status") in FINAL:  # else it is being written
            found.setdefault(metadata["raw"]["uid"], []).append(metadata)
    return found


def is_left_out(answers: Answers, uid: str) -> bool:
    """Return whether the service has told that a run holds no spectrum."""
    answer = answers.to(uid)
    return answer is not None and answer.status == "left-out"


def await_ends(results: Any, sent: dict[str, Sent], answers: Answers) -> None:
    """Wait until every run has come to its end, or the time is over."""
    deadline, pause = time.monotonic() + SETTLE_S, threading.Event()
    while time.monotonic() < deadline:
        found = results_of(results)
        open_ = [
            uid
            for uid, run in sent.items()
            if not is_left_out(answers, uid) and len(found.get(uid, ())) < run.spectra
        ]
        if not open_:
            return
        pause.wait(LOOK_S)


def verdict(
    case: Case, sent: Sequence[Sent], found: dict[str, list[dict[str, Any]]], answers: Answers
) -> Verdict:
    """Count what came of the runs of a case."""
    counts, told, amiss = Counter[str](), Counter[str](), []
    for run in sent:
        ends = found.get(run.uid, [])
        statuses = [str(one["status"]) for one in ends] + ["left out"] * is_left_out(
            answers, run.uid
        )
        counts.update(statuses)
        counts["lost"] += max(0, run.spectra - len(statuses))
        told.update(word for one in ends for word in words_of(one))
        wanted = FINAL if run.outcome == "answered" else (run.outcome,)
        if len(statuses) > run.spectra or not set(statuses) <= set(wanted):
            amiss.append(f"{', '.join(statuses)} instead of {run.spectra} {run.outcome}")
    return Verdict(
        title=case.title,
        profile=case.profile,
        sent=sum(run.spectra for run in sent),
        complete=counts["complete"],
        rejected=counts["rejected"],
        left_out=counts["left out"],
        lost=counts["lost"],
        amiss="; ".join(amiss),
        told=told,
    )


def words_of(metadata: dict[str, Any]) -> list[str]:
    """Return why a result is a rejection, or the flags of an answer."""
    if metadata["status"] == "rejected":
        return [str(metadata.get("reason"))]
    return [str(flag) for flag in metadata.get("flags") or ()]
