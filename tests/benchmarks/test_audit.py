import numpy as np
import pytest

from benchmarks.drill.audit import ARRAYS, Audit, audit


class Array:
    def __init__(self, n: int = 1) -> None:
        self._n = n

    def read(self) -> np.ndarray:
        return np.zeros(self._n)


class Node(dict):
    """An entry of the catalog for one spectrum of a run."""

    def __init__(self, uid: str, status: str, arrays: dict[str, Array]) -> None:
        super().__init__(arrays)
        raw = {"uid": uid, "stream": "primary", "spectrum": ""}
        self.metadata = {"raw": raw, "status": status}


def node(status: str, *, uid: str = "a", lacks: str = "") -> Node:
    return Node(uid, status, {name: Array() for name in ARRAYS - {lacks}})


def audit_of(*nodes: Node) -> Audit:
    return audit(dict(enumerate(nodes)), ["a"], alive=True)


@pytest.mark.parametrize("status", ["complete", "rejected"])
def test_one_whole_result_is_good(status):
    assert audit_of(node(status)).good


def test_a_quick_answer_alone_is_whole_but_no_result():
    found = audit_of(node("degraded"))
    assert (found.complete, found.half_written, found.good) == (0, 0, False)


@pytest.mark.parametrize("order", [("degraded", "complete"), ("complete", "degraded")])
def test_a_quick_answer_beside_its_full_one_counts_as_a_second_result(order):
    found = audit_of(*map(node, order))
    assert (found.complete, found.duplicated, found.half_written) == (1, 1, 0)
    assert not found.good


@pytest.mark.parametrize("torn", [node("writing"), node("complete", lacks="rdf")])
def test_a_torn_result_is_half_written(torn):
    found = audit_of(torn)
    assert found.half_written == 1
    assert not found.good


def test_an_array_that_is_empty_is_half_written():
    empty = node("rejected")
    empty["spectrum"] = Array(0)
    assert audit_of(empty).half_written == 1


def test_results_of_other_runs_are_not_counted():
    assert audit_of(node("complete"), node("complete", uid="b")).good


def test_a_stop_that_takes_ten_seconds_is_not_good():
    assert not audit({0: node("complete")}, ["a"], alive=True, stops=[(0, 10.0)]).good
