"""What the code imports is declared, what is declared is imported, and each has its reason."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("callbacks", "models", "profiles", "sim", "streaming")
#: Distributions whose modules bear another name.
NAMES = {
    "larch": "xraylarch",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}
#: Needed without an import statement.
NOT_IMPORTED = {
    "feff10-rs",  # imported by the process that calculates
    "rosettasciio",  # one reader of it, by its name
}
#: Extras for those who develop nearedge: they may be anything.
DEVELOPING = {"test", "docs", "dev"}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def distribution(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[._-]+", "-", name[0]).lower()


def declared() -> tuple[set[str], set[str]]:
    """Return what is always installed, and what extras add."""
    told = project()
    extras = told["optional-dependencies"]
    always = {distribution(one) for one in told["dependencies"]}
    added = {distribution(r) for k, some in extras.items() if k not in DEVELOPING for r in some}
    return always, added


def imported() -> dict[str, set[str]]:
    """Return the modules that import each distribution."""
    found: dict[str, set[str]] = {}
    for part in PARTS:
        for path in (ROOT / part).rglob("*.py"):
            for module in modules_of(ast.parse(path.read_text())):
                name = NAMES.get(module, re.sub(r"[._-]+", "-", module).lower())
                found.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    return found


def modules_of(tree: ast.Module) -> Iterator[str]:
    """Yield the top-level names of what is imported from elsewhere, lazy imports too."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in {one.partition(".")[0] for one in names}:
            if name not in sys.stdlib_module_names and name not in ("nearedge", "_typeshed"):
                yield name


def test_what_is_imported_is_declared():
    always, added = declared()
    undeclared = {k: sorted(v) for k, v in imported().items() if k not in always | added}
    assert not undeclared


def test_what_is_declared_is_imported():
    always, added = declared()
    assert (always | added) - NOT_IMPORTED - imported().keys() == set()


def test_what_is_only_in_an_extra_is_imported_when_it_is_used():
    """A plain installation imports every module without the extras."""
    always, added = declared()
    for path in sorted(p for part in PARTS for p in (ROOT / part).rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            for module in modules_of(ast.Module([node], [])):
                name = NAMES.get(module, module)
                if isinstance(node, ast.Import | ast.ImportFrom) and name in added - always:
                    pytest.fail(f"{path.relative_to(ROOT)} imports {name}, of an extra, at once")


def test_each_has_its_reason():
    reasons = (ROOT / "docs" / "dependencies.md").read_text().lower()
    always, added = declared()
    missing = [name for name in always | added if not re.search(rf"\b{re.escape(name)}\b", reasons)]
    assert missing == []
