import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from typer.testing import CliRunner

from nearedge.sim.commands import frames_folder, simulated, tell
from nearedge.sim.proxy import running_proxy
from nearedge.streaming.cli import build

STARTUP = """
from nearedge.profiles.startup import nearedge_startup as session
uid, = session.RE(session.xanes_scan(session.station, points=20))
session.publisher.close()
print("measured", uid)
"""


@pytest.mark.parametrize("command", ["demo", "simulate", "dataset"])
def test_commands_are_on_the_command_line(command: str) -> None:
    shown = CliRunner().invoke(build(), [command, "--help"])
    assert shown.exit_code == 0, shown.output


def test_commands_load_nothing_heavy() -> None:
    ours, typers = loaded_by("nearedge.sim.commands"), loaded_by("typer")  # rich, if it is old
    heavy = {"torch", "numpy", "bluesky", "ophyd_async", "tiled", "pyarrow", "matplotlib", "rich"}
    assert not heavy & (ours - typers)


def loaded_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


@pytest.mark.system
def test_the_demo_first_prints_the_address_of_its_page() -> None:
    command = [sys.executable, "-u", "-m", "nearedge.streaming", "demo", "--scans=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        line = demo.stdout.readline()
        with pytest.raises(urllib.error.HTTPError, match="503") as starting:
            urllib.request.urlopen(line.removeprefix("the live page: ").strip(), timeout=20)
        assert "nearedge starts: " in starting.value.read().decode()
        starting.value.close()
        demo.send_signal(signal.SIGTERM)
        demo.stdout.read()


def test_frames_go_where_the_service_may_read() -> None:
    assert frames_folder(simulated(["sim"])) is None
    profile = simulated(["eels-files"])
    assert str(frames_folder(profile)) == profile.instrument.readable_roots[0]


def test_end_of_a_run_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    tell("start", {"uid": "1"})
    stop = {"run_start": "0123456789", "exit_status": "success", "num_events": {"primary": 3}}
    tell("stop", stop)
    assert capsys.readouterr().out == "run 01234567  success  {'primary': 3}\n"


def test_startup_file_gives_a_session_that_publishes() -> None:
    with running_proxy() as proxy:
        env = os.environ | {"NEAREDGE__SIMULATOR__PUBLISH": proxy.inward}
        ran = subprocess.run(
            [sys.executable, "-c", STARTUP], capture_output=True, text=True, env=env, timeout=100
        )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("measured ")
