import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nearedge.callbacks.measurement import Measurement
from nearedge.models import Inversion, NormalisedSpectrum
from nearedge.streaming.answers import plots
from nearedge.streaming.answers.summary import stored_summary
from nearedge.streaming.answers.trend import COLUMNS, trend, trend_csv
from nearedge.streaming.catalog.connection import results_container
from nearedge.streaming.catalog.results import Provenance, Results, ResultWriter


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    pyplot.close("all")


@pytest.fixture
def results(
    tiled_client: Any,
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    make_inversion: Callable[..., Inversion],
) -> Results:
    box = results_container(tiled_client, "inversions")
    writer = ResultWriter(box)
    by = Provenance(config="c0ffee", code="0.1.0", written=1.0, timings={"invert": 0.5})
    for n in (2, 1, 0):
        run = replace(measurement, time=1000.0 + n, context={"pressure": 10.0 * n})
        writer.write(f"k{n}", run, spectrum, make_inversion(4.0 + n, 1.6 + n / 10), provenance=by)
    writer.close()
    return Results(box)


def test_a_trend_is_a_data_frame_in_order_of_time(results: Results) -> None:
    frame = trend(results.search())
    assert list(frame["key"]) == ["k0", "k1", "k2"]
    assert list(frame.columns) == [*COLUMNS, "pressure"]
    assert list(frame["cn"]) == [4.0, 5.0, 6.0]
    assert list(frame["pressure"]) == [0.0, 10.0, 20.0]
    assert frame.attrs["units"] == {"pressure": "GPa"}
    assert set(frame["sample"]) == {"quartz"}
    assert frame["time"][0].timestamp() == 1000.0
    np.testing.assert_allclose(frame["bond_hi"] - frame["bond"], 0.1)
    assert trend([]).columns.tolist() == list(COLUMNS)


def test_a_scalar_that_is_named_like_a_figure_takes_no_place_of_it(
    tiled_client: Any,
    measurement: Measurement,
    spectrum: NormalisedSpectrum,
    make_inversion: Callable[..., Inversion],
) -> None:
    box = results_container(tiled_client, "inversions")
    writer = ResultWriter(box)
    by = Provenance(config="c0ffee", code="0.1.0", written=1.0)
    along = replace(measurement, context={"cn": 9.0, "sample.t": 4.0}, units={"cn": "1"})
    writer.write("k", along, spectrum, make_inversion(4.0), provenance=by)
    writer.close()
    frame = trend(Results(box).search())
    assert frame[["cn", "context.cn", "sample.t"]].iloc[0].tolist() == [4.0, 9.0, 4.0]
    assert frame.attrs["units"] == {"context.cn": "1"}


def test_csv_holds_the_same(results: Results) -> None:
    summaries = [stored_summary(r.key, r.metadata) for r in results.search()]
    rows = list(csv.DictReader(io.StringIO(trend_csv(summaries))))
    assert {row["key"]: (row["cn_set"], row["pressure [GPa]"]) for row in rows} == {
        "k0": ("4 5", "0.0"),
        "k1": ("5 6", "10.0"),
        "k2": ("6 7", "20.0"),
    }
    assert {"bond [Å]", "bond_lo [Å]", "angle [°]", "latency [s]", "time"} <= set(rows[0])
    assert datetime.fromisoformat(rows[0]["time"]).utcoffset() == timedelta(0)
    assert rows[0]["flags"] == "gap short-post-edge partial"


def test_the_spectrum_is_drawn_from_e0(results: Results) -> None:
    axes = plots.plot_spectrum(results["k0"])
    line = axes.lines[-1]
    spectrum = results["k0"].spectrum
    np.testing.assert_allclose(line.get_xdata(), spectrum.energy - spectrum.e0)
    np.testing.assert_allclose(line.get_ydata(), spectrum.flat)


def test_the_implied_spectrum_is_drawn_where_there_is_one(results: Results) -> None:
    grid = np.linspace(-10, 50, 5)
    answer = replace(plots.as_answer(results["k0"]), grid=grid, implied=grid**2)
    axes = plots.plot_spectrum(answer)
    np.testing.assert_allclose(axes.lines[-1].get_ydata(), grid**2)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["measured", "implied"]


def test_the_bars_are_the_probabilities_and_the_set_is_filled(results: Results) -> None:
    answer = plots.as_answer(results["k0"])
    answer = replace(answer, estimates=replace(answer.estimates, cn_set=(2,)))
    axes = plots.plot_cn(answer)
    heights = [bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(heights, [0.0, 0.25, 0.75])
    inside, outside = axes.patches[2].get_facecolor(), axes.patches[1].get_facecolor()
    assert inside != outside


def test_each_species_has_its_line(results: Results) -> None:
    axes = plots.plot_rdf(results["k0"])
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["Si–O", "Si–Si"]


@pytest.mark.parametrize("figure", ["cn", "bond", "angle", "ood_score"])
def test_a_trend_is_drawn_with_its_bars(results: Results, figure: str) -> None:
    frame = trend(results.search())
    axes = plots.plot_trend(frame, figure=figure, against="pressure")
    assert axes.get_xlabel() == "pressure / GPa"
    points = axes.lines[0]
    np.testing.assert_allclose(points.get_xdata(orig=False), [0, 10, 20])
    np.testing.assert_allclose(points.get_ydata(orig=False), frame[figure].astype(float))
    assert len(axes.containers[0].lines[2]) == (0 if figure == "ood_score" else 1)


def test_a_column_that_is_not_there_is_named(results: Results) -> None:
    with pytest.raises(KeyError, match="temperature"):
        plots.plot_trend(results.search(), against="temperature")


def test_everything_in_one_picture_and_in_given_axes(results: Results, tmp_path: Any) -> None:
    figure = plots.plot(results["k0"])
    assert len(figure.axes) == 3
    figure.savefig(tmp_path / "answer.png")
    assert (tmp_path / "answer.png").stat().st_size > 5000
    mine: Axes = Figure().subplots()
    assert plots.plot_spectrum(results["k0"], axes=mine) is mine
