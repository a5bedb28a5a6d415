"""What is built from here holds all that an installed nearedge and a packager need."""

import email
import email.policy
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("callbacks", "models", "profiles", "sim", "streaming")
#: What a source distribution holds besides: the README and the tests point to it.
DOCUMENTS = ("docs", "tests", "benchmarks")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info", "_build", ".*_cache")

pytest.importorskip("setuptools", minversion="77", reason="nearedge is built with setuptools 77")


def build(kind: str, tree: Path, into: Path) -> Path:
    """Build as pip does, with the setuptools that are installed here: nothing is downloaded."""
    command = f"from setuptools import build_meta as b; print(b.build_{kind}({str(into)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=tree, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return into / done.stdout.splitlines()[-1]


def files_of(folder: Path) -> Iterator[str]:
    return (str(p.relative_to(folder)) for p in sorted(folder.rglob("*")) if p.is_file())


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, without what was built or cached in them."""
    copy = tmp_path_factory.mktemp("tree") / "nearedge"
    copy.mkdir()
    for path in ROOT.iterdir():
        if path.name in (*PACKAGES, *DOCUMENTS):
            shutil.copytree(path, copy / path.name, ignore=LEFT_OUT)
        elif path.is_file() and not path.name.startswith("."):
            shutil.copy(path, copy)
    return copy


@pytest.fixture(scope="module")
def sdist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution."""
    into = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build("sdist", tree, into)) as archive:
        archive.extractall(into, filter="data")
    (unpacked,) = (path for path in into.iterdir() if path.is_dir())
    return unpacked


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel, built from the source distribution as pip and packagers build it."""
    with zipfile.ZipFile(build("wheel", sdist, tmp_path_factory.mktemp("wheel"))) as archive:
        yield archive


def test_the_wheel_holds_every_file_of_the_packages(tree: Path, wheel: zipfile.ZipFile) -> None:
    wanted = {f"nearedge/{name}/{file}" for name in PACKAGES for file in files_of(tree / name)}
    for kind in (".safetensors", ".yaml", ".html", ".js", ".css", ".parquet", ".service"):
        assert any(name.endswith(kind) for name in wanted), kind
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == wanted


def test_the_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    metadata = email.message_from_bytes(wheel.read(f"{info}/METADATA"), policy=email.policy.default)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pythons = set(project["requires-python"].split(","))
    assert set(metadata["Requires-Python"].split(",")) == pythons
    assert metadata["License-Expression"] == project["license"]
    assert set(metadata.get_all("License-File")) == {"LICENSE", "NOTICE"}
    assert metadata["Author"] == project["authors"][0]["name"]
    assert set(metadata.get_all("Classifier")) == set(project["classifiers"])
    assert metadata["Description-Content-Type"].startswith("text/markdown")
    commands = wheel.read(f"{info}/entry_points.txt").decode()
    assert "nearedge = nearedge.streaming.cli:main" in commands


def test_the_source_distribution_holds_what_its_readme_points_to(tree: Path, sdist: Path) -> None:
    held = set(files_of(sdist))
    for name in ("SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "NOTICE"):
        assert name in held, name
    for folder in DOCUMENTS:
        wanted = {f"{folder}/{file}" for file in files_of(tree / folder)}
        data = {file for file in wanted if file.startswith("benchmarks/data/")}
        assert wanted - data - held == set(), folder
