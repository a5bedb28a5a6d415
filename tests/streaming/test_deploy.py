"""The examples of units, containers and configurations are what the programs understand."""

import importlib
import shlex
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiled.config import parse_configs

from nearedge.streaming.catalog import server_config
from nearedge.streaming.settings.configuration import load_profile
from nearedge.streaming.settings.words import inconsistencies

DEPLOY = Path(str(files("nearedge.profiles.deploy")))
UNITS = sorted(DEPLOY.glob("*.service"))


def commands() -> dict[str, list[str]]:
    """Return the command lines of all units and containers, by where they stand."""
    found = {}
    for unit in UNITS:
        (line,) = [row for row in unit.read_text().splitlines() if row.startswith("ExecStart=")]
        program, *rest = shlex.split(line.removeprefix("ExecStart="))
        found[unit.name] = [Path(program).name, *rest]
    for name, service in compose()["services"].items():
        found[f"compose:{name}"] = [*service.get("entrypoint", ["nearedge"]), *service["command"]]
    return found


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


def test_units_and_containers_run_the_same_commands() -> None:
    all_ = commands()
    assert all_["compose:proxy"] == all_["bluesky-0mq-proxy.service"]
    assert all_["compose:tiled"] == all_["nearedge-tiled.service"]
    assert all_["compose:nearedge"] == all_["nearedge.service"]


@pytest.mark.parametrize("where", ["bluesky-0mq-proxy.service", "nearedge.service"])
def test_the_programs_know_their_options(where: str) -> None:
    program, *rest = commands()[where]
    module = {"bluesky-0MQ-proxy": "bluesky.commandline.zmq_proxy:main"}.get(
        program, "nearedge.streaming.cli:main"
    )
    assert f"{program} = {module}" in entry_points()
    options = {word for word in rest if word.startswith("-")}
    words = [word for word in rest[:1] if not word.startswith("-")]
    name, function = module.split(":")
    code = f"import sys; from {name} import {function}; sys.exit({function}())"
    told = subprocess.run(
        [sys.executable, "-c", code, *words, "--help"],
        check=True,
        capture_output=True,
        text=True,
        env={"TERM": "dumb", "COLUMNS": "200", "PATH": "/usr/bin:/bin"},
    )
    assert all(option in told.stdout for option in options)


def entry_points() -> set[str]:
    from importlib.metadata import entry_points

    return {f"{one.name} = {one.value}" for one in entry_points(group="console_scripts")}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_the_unit(unit: Path, tmp_path: Path) -> None:
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/nearedge/bin/", "/bin/true "))
    told = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True)
    assert [line for line in told.stderr.splitlines() if unit.name in line] == []


def test_the_profile_fits() -> None:
    profile = load_profile(("xanes-transmission", str(DEPLOY / "beamline.yaml")), environ={})
    assert inconsistencies(profile) == ()
    assert profile.source.address == "127.0.0.1:5578"
    assert profile.instrument.roles.energy == "mono_energy"


def test_tiled_takes_the_configuration_with_our_part(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "tiled.yaml", tmp_path)
    (tmp_path / "nearedge.yaml").write_text(yaml.safe_dump(server_config.config()))
    config = parse_configs(tmp_path)
    assert [tree.path for tree in config.trees] == ["/"]
    assert "chemical/x-cif" in config.file_extensions.values()


def test_no_container_has_a_secret_in_it() -> None:
    services = compose()["services"].values()
    variables = {k: v for one in services for k, v in one.get("environment", {}).items()}
    assert all(v.startswith("${TILED_API_KEY:?") for k, v in variables.items() if "KEY" in k)


def test_the_printed_configuration_lets_tiled_give_the_documents_of_runs() -> None:
    name = server_config.config()["media_types"]["BlueskyRun"]["application/json-seq"]
    module, function = name.split(":")
    assert callable(getattr(importlib.import_module(module), function))
