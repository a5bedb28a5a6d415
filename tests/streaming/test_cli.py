import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
import yaml

from nearedge.streaming import cli
from nearedge.streaming.ledger.job import Place, State
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.ledger.queue import Queue
from nearedge.streaming.ledger.runs import Runs
from nearedge.streaming.workers import dask_worker


@pytest.fixture
def nearedge(capsys):
    """Return a function that runs a command line and gives its exit code and output."""

    def run(*args: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


@pytest.fixture
def profile(tmp_path):
    path = tmp_path / "here.yaml"
    settings = {"catalog": {"directory": str(tmp_path / "catalog")}}
    path.write_text(yaml.safe_dump(settings))
    return path


def test_help_names_every_command(nearedge):
    code, out, _ = nearedge("--help")
    assert code == 0
    names = "run replay invert check config status retry train evaluate"
    assert all(name in out for name in names.split())


def test_help_imports_nothing_heavy():
    heavy = "torch tiled pymatgen bluesky ophyd zmq numpy scipy event_model pyarrow matplotlib"
    code = (
        "import sys, nearedge.streaming.cli as cli\n"
        "cli.build()\n"
        f"print(*(set({heavy!r}.split()) & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == done.stderr.strip() == ""


def test_help_answers_at_once():
    # of the processor, not of the clock, and the best of some: other work of the machine, which
    # empties its caches too, is none of ours
    assert min(help_cpu_s() for _ in range(3)) < 1.0


def help_cpu_s() -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "nearedge.streaming", "--help"]
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_version(nearedge):
    code, out, _ = nearedge("--version")
    assert code == 0
    assert out.startswith("nearedge 0.")


def test_an_unknown_command_is_misuse(nearedge):
    code, _, err = nearedge("inwert")
    assert code == 2
    assert "inwert" in err


def test_an_unknown_key_is_misuse_and_named(nearedge, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("instrument:\n  absorbr: Si\n")
    code, _, err = nearedge("config", "-c", path)
    assert code == 2
    assert "absorbr" in err
    assert "Traceback" not in err


def test_verbose_shows_the_traceback(nearedge, tmp_path):
    code, _, err = nearedge("-v", "config", "-c", tmp_path / "absent.yaml")
    assert code == 2
    assert "Traceback" in err


def test_config_prints_the_merged_profile(nearedge, tmp_path, monkeypatch):
    (tmp_path / "a.yaml").write_text("worker: {samples: 4, batch: 2}\n")
    (tmp_path / "b.yaml").write_text("worker: {samples: 5}\n")
    monkeypatch.setenv("NEAREDGE__WORKER__BATCH", "3")
    code, out, _ = nearedge("config", "-c", tmp_path / "a.yaml", "-c", tmp_path / "b.yaml")
    worker = yaml.safe_load(out)["worker"]
    assert (code, worker["samples"], worker["batch"]) == (0, 5, 3)


def test_config_prints_the_schema(nearedge):
    code, out, _ = nearedge("config", "--schema")
    assert code == 0
    assert "instrument" in yaml.safe_load(out)["properties"]


def test_status_without_a_ledger_says_so(nearedge, profile):
    code, _, err = nearedge("status", "-c", profile)
    assert code == 2
    assert "no ledger" in err


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "catalog" / "ledger.sqlite")
    place = Place(run_uid="the-run", scan_id=3, stream="primary", spectrum="0")
    ledger.submit("k", place, b"x")
    (job,) = ledger.queue.claim(lease_s=60)
    ledger.queue.fail(job, "ValueError: poison", attempts=1)
    yield ledger
    ledger.close()


def test_status_of_a_temporary_ledger_says_what_to_set(nearedge):
    code, _, err = nearedge("status", "-c", "sim")
    assert code == 2
    assert "service.ledger" in err and "None" not in err


SENSIBLE = {"instrument": {"signal": "mu", "roles": {"energy": "mono", "mu": "mu"}}}


def test_check_says_when_dask_is_not_installed(nearedge, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_worker, "_missing", lambda: "dask and distributed are not installed")
    path = tmp_path / "dask.yaml"
    worker = {"backend": "dask", "scheduler": "tcp://127.0.0.1:8786"}
    path.write_text(yaml.safe_dump({**SENSIBLE, "worker": worker}))
    code, _, err = nearedge("check", "-c", path)
    assert (code, "distributed" in err) == (2, True)


def test_check_warns_of_a_server_that_does_not_answer(nearedge, tmp_path, monkeypatch):
    monkeypatch.setenv("TILED_API_KEY", "secret")
    path = tmp_path / "away.yaml"
    path.write_text(yaml.safe_dump({**SENSIBLE, "catalog": {"uri": "http://127.0.0.1:9/api/v1"}}))
    code, _, err = nearedge("check", "-c", path)
    assert code == 0
    assert "warning: no Tiled server answers at http://127.0.0.1:9" in err


def test_check_says_that_results_of_a_temporary_catalog_are_gone(nearedge, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(SENSIBLE))
    assert "set catalog.directory" in nearedge("check", "-c", path)[1]


def test_status_shows_what_failed(nearedge, profile, ledger):
    code, out, _ = nearedge("status", "-c", profile)
    assert code == 0
    assert "failed     1" in out
    assert "the-run" in out
    assert "poison" in out


def test_status_shows_runs_that_lack_something(nearedge, profile, ledger):
    ledger.runs.ask("gappy", "documents are missing", wait_s=60)
    ledger.postpone("broken", "no such file", delay_s=60.0)
    _, out, _ = nearedge("status", "-c", profile)
    assert "1 runs with gaps are asked of the catalog" in out
    assert "1 runs could not be read so far:" in out


@pytest.mark.parametrize(
    ("command", "part", "method"), [("status", Runs, "counts"), ("retry", Queue, "retry")]
)
def test_the_ledger_is_closed_whatever_happens(
    nearedge, profile, ledger, monkeypatch, command, part, method
):
    def broken(self, *args):
        raise sqlite3.OperationalError("disk I/O error")

    closed = []
    monkeypatch.setattr(part, method, broken)
    monkeypatch.setattr(Ledger, "close", lambda self: closed.append(self._database.close()))
    code, _, err = nearedge(command, "-c", profile)
    assert (code, len(closed)) == (1, 1)
    assert "disk I/O error" in err


def test_retry_queues_failures_again(nearedge, profile, ledger):
    assert nearedge("retry", "-c", profile, "other")[1].startswith("0 ")
    code, out, _ = nearedge("retry", "-c", profile)
    assert (code, out) == (0, "1 spectra are queued again\n")
    assert ledger.backlog.counts()[State.QUEUED] == 1


def test_an_output_of_unknown_form_is_refused_before_any_work(nearedge, tmp_path):
    code, _, err = nearedge("invert", tmp_path / "scan.xdi", "-o", tmp_path / "out.docx")
    assert code == 2
    assert ".docx" in err


def test_a_broken_contribution_takes_no_other_command_with_it(nearedge, monkeypatch):
    from importlib.metadata import EntryPoint

    broken = EntryPoint(name="broken", value="nearedge.nowhere:command", group=cli.GROUP)
    monkeypatch.setattr(cli, "entry_points", lambda group: [broken])
    code, out, err = nearedge("--help")
    assert code == 0
    assert "evaluate" in out
    assert "'broken' cannot be loaded" in err


def test_commands_may_be_contributed(nearedge, tmp_path, monkeypatch):
    from importlib.metadata import EntryPoint

    (tmp_path / "contributed.py").write_text(
        "import typer\n"
        "def greet(name: str) -> None:\n    '''Greet.'''\n    print('hello', name)\n"
        "nested = typer.Typer()\n"
        "@nested.command()\ndef build() -> None:\n    '''Build.'''\n    print('built')\n"
        "@nested.command()\ndef describe() -> None:\n    '''Describe.'''\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    points = [
        EntryPoint(name="greet", value="contributed:greet", group=cli.GROUP),
        EntryPoint(name="dataset", value="contributed:nested", group=cli.GROUP),
    ]
    monkeypatch.setattr(cli, "entry_points", lambda group: points)
    assert nearedge("greet", "you")[1] == "hello you\n"
    assert nearedge("dataset", "build")[1] == "built\n"


def test_a_stop_signal_sets_the_event_once_and_leaves_the_handlers_as_they_were():
    import os
    import signal

    from nearedge.streaming.commands.stopping import stop_signals

    before = signal.getsignal(signal.SIGTERM)
    with stop_signals() as stopped:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.wait(5)
        assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getsignal(signal.SIGTERM) is before


def commands_of(group, path=()):
    """Yield the words of every command, and the options that it has."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, (*path, name))
        else:
            options = [o for p in command.params for o in p.opts if o.startswith("--")]
            yield " ".join((*path, name)), options


def test_the_reference_names_every_command_and_option():
    text = (Path(__file__).parents[2] / "docs" / "reference-cli.md").read_text()
    for name, options in commands_of(typer.main.get_command(cli.build())):
        assert f"### `nearedge {name}" in text
        assert not [option for option in options if f"`{option}`" not in text]
