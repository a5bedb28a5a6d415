import os
from pathlib import Path

import pytest

from benchmarks.drill import pace
from benchmarks.drill.process import Process, cpu_s


def rounds(*means: float) -> list[list[float]]:
    return [[mean - 0.01, mean + 0.01] for mean in means]


ABSENT = rounds(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)  # a machine with ever more to do


def test_a_drift_of_the_machine_is_no_difference():
    assert pace.difference(ABSENT, ABSENT) == (0.0, 0.0, 0.0)
    assert pace.within_noise(ABSENT, ABSENT)


def test_a_service_that_slows_every_scan_is_found_under_a_larger_drift():
    slowed = [[s + 0.1 for s in turn] for turn in ABSENT]
    assert pace.difference(slowed, ABSENT) == pytest.approx((0.1, 0.1, 0.1))
    assert not pace.within_noise(slowed, ABSENT)


def test_noise_is_how_scans_of_one_turn_differ():
    assert pace.noise(ABSENT) == pytest.approx(0.01 * 2**0.5)


def test_a_difference_of_both_signs_is_noise():
    assert pace.within_noise(rounds(1.1, 1.9, 3.1, 3.9, 5.1, 5.9), ABSENT)


def test_the_service_runs_at_the_priority_of_the_unit_that_is_shipped():
    assert f"\nNice={pace.shipped_nice()}\n" in pace.UNIT.read_text()
    assert pace.shipped_nice() > 0


def test_a_process_yields_with_its_whole_session(tmp_path):
    process = Process(["-c", "input()"], log=tmp_path / "log", nice=7)
    try:
        lowered = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 7)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == lowered
        group = Path(f"/proc/{process.pid}/autogroup")
        if group.exists():
            assert group.read_text().split()[-1] == "7"
    finally:
        process.kill()


def test_processor_time_is_that_of_the_process():
    before = cpu_s(os.getpid())
    while cpu_s(os.getpid()) == before:
        pass
    assert cpu_s(os.getpid()) == pytest.approx(sum(os.times()[:2]), abs=0.05)
