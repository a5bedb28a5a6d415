"""``nearedge invert`` as a user runs it: exit codes, interruption and several processes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nearedge.streaming import cli

pytestmark = pytest.mark.timeout(300)

ENERGY = 1840.0 + np.concatenate(
    [np.arange(-40, -6, 2.0), np.arange(-6, 16, 0.4), np.arange(16, 80, 2.0)]
)
COMMAND = [sys.executable, "-m", "nearedge.streaming", "invert"]
QUICK = ["--samples", "1", "--device", "cpu"]


def silica(scale: float = 1.0) -> np.ndarray:
    x = ENERGY - 1846.0
    step = np.arctan(x / 0.6) / np.pi + 0.5
    return scale * (0.2 + step + 1.1 * np.exp(-(((x - 1.2) / 1.3) ** 2)))


def write(path: Path, mu: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = zip(ENERGY, mu, strict=True)
    path.write_text("energy mu\n" + "".join(f"{e:.3f} {m:.6f}\n" for e, m in rows))
    return path


@pytest.fixture
def nearedge(capsys):
    def run(*args: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.main(["invert", *map(str, args)])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


def rows(path: Path) -> list[dict]:
    return json.loads(path.read_text())


def test_a_missing_file_ends_with_2_before_any_work(nearedge, tmp_path):
    code, _, err = nearedge(tmp_path / "none.dat", "-o", tmp_path / "o.json")
    assert code == 2
    assert "none.dat" in err
    assert not list(tmp_path.iterdir())


def test_columns_that_make_no_sense_end_with_2(nearedge, tmp_path):
    path = write(tmp_path / "a.dat", silica())
    code, _, err = nearedge(path, "-o", tmp_path / "o.json", "--columns", "enrgy=1")
    assert code == 2
    assert "enrgy" in err


def test_folders_are_inverted_with_a_line_for_each_file(nearedge, tmp_path):
    write(tmp_path / "in" / "a" / "scan.dat", silica())
    write(tmp_path / "in" / "b" / "scan.dat", silica(2.0))
    code, out, _ = nearedge(tmp_path / "in", "-o", tmp_path / "new" / "o.json", *QUICK)
    assert code == 0
    assert [row["id"] for row in rows(tmp_path / "new" / "o.json")] == ["a/scan.dat", "b/scan.dat"]
    first, second, last = out.splitlines()
    assert first.startswith("a/scan.dat: CN ")
    assert second.startswith("b/scan.dat: CN ")
    assert last.startswith("2 inverted, 0 rejected")


def test_a_spectrum_without_an_answer_ends_with_1(nearedge, tmp_path):
    good = write(tmp_path / "a.dat", silica())
    flat = write(tmp_path / "b.dat", np.ones_like(ENERGY))
    code, out, _ = nearedge(good, flat, "-o", tmp_path / "o.json", *QUICK)
    assert code == 1
    assert "b.dat: rejected, no-edge" in out
    assert [row["status"] for row in rows(tmp_path / "o.json")] == ["complete", "rejected"]


def test_columns_are_taken_as_told(nearedge, tmp_path):
    path = tmp_path / "a.dat"
    table = np.column_stack([ENERGY, np.full_like(ENERGY, 9.0), 9.0 * np.exp(-silica())])
    np.savetxt(path, table)
    out = tmp_path / "o.json"
    assert nearedge(path, "-o", out, *QUICK)[0] == 1
    assert nearedge(path, "-o", out, *QUICK, "--columns", "energy=1,i0=2,it=3")[0] == 0
    (row,) = rows(out)
    assert row["signal"] == "ln(column 2/column 3)"
    assert row["edge_step"] == pytest.approx(1.0, abs=0.2)


@pytest.mark.system
def test_several_processes_give_the_same_answers(nearedge, tmp_path, monkeypatch):
    monkeypatch.setenv("NEAREDGE__WORKER__THREADS", "1")  # sums of several threads round otherwise
    for n in range(12):
        write(tmp_path / "in" / f"{n}.dat", silica(1 + n / 10))
    outs = [tmp_path / f"{jobs}.json" for jobs in (1, 2)]
    for jobs, out in enumerate(outs, start=1):
        assert nearedge(tmp_path / "in", "-o", out, *QUICK, "--jobs", jobs)[0] == 0
    one, two = ([(r["id"], r["seed"], r["positions"]) for r in rows(out)] for out in outs)
    assert one == two


@pytest.mark.system
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_a_stopped_call_keeps_its_answers_and_goes_on(tmp_path, number, code):
    for n in range(24):
        write(tmp_path / "in" / f"{n:02d}.dat", silica(1 + n / 100))
    out = tmp_path / "o.json"
    command = [*COMMAND, str(tmp_path / "in"), "-o", str(out), "--device", "cpu", "--samples", "8"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    assert "goes on from there" in err
    saved = rows(out)
    assert 0 < len(saved) < 24
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.count("(saved before)") == len(saved)
    everything = rows(out)
    assert len(everything) == 24
    assert everything[0]["positions"] == saved[0]["positions"]
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["in", "o.json"]
