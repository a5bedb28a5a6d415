from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from nearedge.sim.comparison import compare
from nearedge.sim.figure import draw, draw_coordination
from nearedge.sim.silica import silica
from nearedge.streaming.ledger.job import State


@pytest.mark.parametrize("pressures", [(), (0.0,), (0.0, 30.0, 60.0)])
def test_picture_is_drawn_whatever_is_there(
    pressures: tuple[float, ...], result: Callable, tmp_path: Path
) -> None:
    draw(compare([result(p) for p in pressures]), silica("Si"), tmp_path / "demo.png")
    pixels = imread(tmp_path / "demo.png")
    assert pixels.shape[1] == 1800
    assert pixels.std() > 0.01


def test_failed_spectra_are_left_out_of_the_picture(result: Callable, tmp_path: Path) -> None:
    rows = [result(0.0), result(30.0, status=State.FAILED)]
    draw(compare(rows), silica("Si"), tmp_path / "demo.png")
    assert (tmp_path / "demo.png").stat().st_size > 0


def test_found_and_true_coordination_are_both_drawn(result: Callable) -> None:
    specimen = silica("Si")
    axes = Figure().subplots()
    found = compare([result(0.0, cn_mean=4.25), result(60.0, cn_mean=5.75)])
    draw_coordination(axes, [(c, c.estimates) for c in found], specimen)
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert list(lines["found (bar: 90 %)"]) == [4.25, 5.75]
    assert np.asarray(lines["true mean"])[[0, -1]] == pytest.approx([4.0, 6.0])
