"""One name stands for one thing: no two classes are called alike."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ("callbacks", "models", "profiles", "sim", "streaming")


def test_no_class_name_stands_for_two_things() -> None:
    homes = defaultdict(list)
    for path in sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(str(path.relative_to(ROOT)))
    assert len(homes) > 300
    assert not {name: paths for name, paths in homes.items() if len(paths) > 1}
