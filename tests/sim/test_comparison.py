from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

from nearedge.sim.comparison import Comparison, compare, summary_table, verdict
from nearedge.streaming.ledger.job import State


def test_results_come_in_the_order_of_measurement(result: Callable) -> None:
    rows = [result(40.0), result(0.0), result(20.0)]
    assert [c.truth.pressure for c in compare(rows)] == [0.0, 20.0, 40.0]


def test_runs_that_were_not_simulated_are_left_out(result: Callable) -> None:
    assert compare([result(0.0, simulated=False)]) == []


def test_the_true_mean_cn_is_looked_for_in_its_interval(result: Callable) -> None:
    inside, outside = compare([result(20.0, cn_mean=4.4), result(20.0, cn_mean=5.2)])
    assert inside.truth.cn_mean == pytest.approx(4.5)
    assert (inside.cn_inside, outside.cn_inside) == (True, False)
    assert any(
        "inside its 90 % interval 1 of 2" in line for line in verdict([inside, outside], expected=2)
    )


@pytest.mark.parametrize(
    ("bond", "inside"),
    [((1.61, 1.60, 1.62), True), ((1.65, 1.63, 1.67), False), (None, None)],
)
def test_bond_inside_its_interval(
    bond: tuple[float, float, float] | None, inside: bool | None, result: Callable
) -> None:
    (comparison,) = compare([result(0.0, bond=bond)])
    assert comparison.bond_inside is inside


def test_verdict_counts_what_is_missing(result: Callable) -> None:
    comparisons = compare(
        [result(0.0, latency_s=0.5), result(10.0, latency_s=1.5), result(60.0, status=State.FAILED)]
    )
    lines = verdict(comparisons, expected=4)
    assert lines[0].startswith("2 of 4 ")
    assert "median 1.00 s" in lines[3]


def test_verdict_tells_the_splits(result: Callable) -> None:
    text = verdict(compare([result(0.0), result(60.0)]), expected=2)[-1]
    assert text.startswith("trained on these sites: no")
    assert "4 of test" in text
    assert "1 of val" in text


def test_verdict_without_any_answer_says_so(result: Callable) -> None:
    lines = verdict(compare([result(0.0, status=State.FAILED)]), expected=1)
    assert lines == ["0 of 1 spectra have a complete result in the catalog"]


def test_table_shows_truth_beside_answer(result: Callable) -> None:
    comparisons: list[Comparison] = compare([result(0.0), result(60.0, status=State.REJECTED)])
    console = Console(width=200, file=StringIO())
    console.print(summary_table(comparisons))
    text = console.file.getvalue()
    assert "4.00" in text
    assert "1.612" in text
    assert "rejected" in text
