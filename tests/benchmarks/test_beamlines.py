"""How the trial of the beamlines counts; the trial itself is `python -m benchmarks.beamlines`."""

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.beamlines.__main__ import BEGIN, END, put_into, table
from benchmarks.beamlines.case import Case, Sent
from benchmarks.beamlines.trial import Verdict, verdict


def ended(status: str, **more: Any) -> dict[str, Any]:
    return {"status": status, **more}


def judged(sent: Sent, *ends: dict[str, Any], left_out: bool = False) -> Verdict:
    """Return what is said of one run."""
    one = Case(title="a run", profile="fly", early=False, send=lambda line: [sent])
    status = SimpleNamespace(status="left-out" if left_out else "complete")
    answers: Any = SimpleNamespace(to=lambda uid: status)
    return verdict(one, [sent], {sent.uid: list(ends)}, answers)


COMPLETE, REJECTED = ended("complete", flags=["gap"]), ended("rejected", reason="no-edge")


def test_what_is_as_expected_is_good():
    assert judged(Sent(uid="a"), COMPLETE).good
    assert judged(Sent(uid="a", spectra=2), COMPLETE, COMPLETE).good
    assert judged(Sent(uid="a", outcome="rejected"), REJECTED).good
    assert judged(Sent(uid="a", outcome="answered"), REJECTED).good
    assert judged(Sent(uid="a", outcome="left out"), left_out=True).good


@pytest.mark.parametrize(
    ("sent", "ends"),
    [
        (Sent(uid="a"), []),
        (Sent(uid="a", spectra=2), [COMPLETE]),
        (Sent(uid="a"), [REJECTED]),
        (Sent(uid="a"), [COMPLETE, COMPLETE]),
        (Sent(uid="a", outcome="left out"), [COMPLETE]),
        (Sent(uid="a", outcome="left out"), []),
    ],
    ids=["lost", "half lost", "rejected", "twice", "answered", "passed over"],
)
def test_all_else_is_not(sent, ends):
    assert not judged(sent, *ends).good


def test_reasons_and_flags_are_told_and_summed(tmp_path):
    found = [judged(Sent(uid="a"), COMPLETE), judged(Sent(uid="b", outcome="rejected"), REJECTED)]
    text = table(found)
    assert "| a run | 1 | 1 | 0 | 0 | 0 | `gap` |" in text
    assert "`no-edge`" in text
    assert text.endswith("| **all** | **2** | **1** | **1** | **0** | **0** | |")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put_into(page, text)
    assert page.read_text() == f"before\n{BEGIN}\n{text}\n{END}\nafter\n"
