"""The cells of docs/tutorial-notebook.md, run one after another."""

import re
from pathlib import Path

import matplotlib
import pytest
from matplotlib import pyplot

PAGE = Path(__file__).parents[2] / "docs" / "tutorial-notebook.md"


def cells() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_a_notebook_made_of_the_page_runs_no_command_of_the_shell() -> None:
    languages = set(re.findall(r"^```(\w+)$", PAGE.read_text(), re.MULTILINE))
    assert languages == {"python", "console"}  # jupytext makes cells of sh, of console none


@pytest.mark.system
def test_the_tutorial_runs_from_top_to_bottom(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kept").symlink_to(kept)
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    names: dict[str, object] = {}
    for cell in cells():
        exec(compile(cell, str(PAGE), "exec"), names)
    pyplot.close("all")
    told = capsys.readouterr().out
    assert "Si K edge" in told
    assert "coordination number 5.50" in told
    assert "of 4 answers have no flag" in told
    assert "(2, 3, 3) samples" in told
    for name in ("latest.pdf", "shells.pdf", "trend.pdf"):
        assert (tmp_path / name).read_bytes().startswith(b"%PDF")
    assert (tmp_path / "clusters.xyz").read_text().count("Properties=") == 2
    assert len((tmp_path / "trend.csv").read_text().splitlines()) == 1 + 4
    assert (tmp_path / "cluster.cif").read_text().startswith("# generated using pymatgen")
