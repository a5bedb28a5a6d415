"""Figures for notebooks and papers, drawn with matplotlib.

Each function takes an answer or a stored result, `plot_trend` several, draws into the axes that it
is given or into those of a new pyplot figure, which a notebook shows, and returns them.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nearedge.streaming.answers.answer import Answer, StoredAnswer, answer_of_result
from nearedge.streaming.answers.figures import CN, FIGURES
from nearedge.streaming.answers.trend import trend

if TYPE_CHECKING:
    import pandas as pd

One: TypeAlias = Answer | StoredAnswer

# distinguishable with every kind of colour vision (Okabe & Ito 2008)
MEASURED, IMPLIED, THIRD, FAINT = "#0072B2", "#D55E00", "#009E73", "#8B97A6"


def plot(one: One) -> Figure:
    """Draw spectrum, coordination number and radial distribution side by side."""
    figure = pyplot.figure(figsize=(10, 3), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.3, 0.8, 1.3])
    answer = as_answer(one)
    plot_spectrum(answer, axes=left)
    plot_cn(answer, axes=middle)
    plot_rdf(answer, axes=right)
    return figure


def plot_spectrum(one: One, *, axes: Axes | None = None) -> Axes:
    """Draw the normalised spectrum from e0, and the one that the clusters imply, if any."""
    answer, axes = as_answer(one), new_axes(axes)
    spectrum = answer.spectrum
    axes.axvline(0, color=FAINT, lw=0.8, ls=":")
    axes.plot(spectrum.energy - spectrum.e0, spectrum.flat, color=MEASURED, label="measured")
    if answer.implied is not None and answer.grid is not None:
        axes.plot(answer.grid, answer.implied, color=IMPLIED, ls="--", label="implied")
        axes.legend(frameon=False)
    axes.set(
        xlabel="energy from $e_0$ / eV",
        ylabel="normalised absorption",
        title=f"{answer.absorber} {answer.edge} edge",
    )
    return axes


def plot_rdf(one: One, *, axes: Axes | None = None) -> Axes:
    """Draw the radial distribution of each neighbour species, averaged over the samples."""
    answer, axes = as_answer(one), new_axes(axes)
    estimates = answer.estimates
    for species, colour in zip(estimates.rdf, (IMPLIED, MEASURED, THIRD, FAINT), strict=False):
        label = f"{answer.absorber}–{species}"
        axes.fill_between(estimates.rdf_r, estimates.rdf[species], color=colour, alpha=0.3, lw=0)
        axes.plot(estimates.rdf_r, estimates.rdf[species], color=colour, label=label)
    axes.set(xlabel="r / Å", ylabel="atoms per Å", xlim=(1, estimates.rdf_r[-1]), ylim=(0, None))
    axes.legend(frameon=False)
    return axes


def plot_cn(one: One, *, axes: Axes | None = None) -> Axes:
    """Draw the probability of each coordination number; the 90 % set is filled."""
    answer, axes = as_answer(one), new_axes(axes)
    estimates = answer.estimates
    numbers = np.arange(len(estimates.cn_prob))
    inside = np.isin(numbers, estimates.cn_set)
    colours = np.where(inside, MEASURED, FAINT)
    axes.bar(numbers, estimates.cn_prob, color=list(colours))
    likely = numbers[(estimates.cn_prob > 0.005) | inside]
    axes.set(
        xlabel=CN.label,
        ylabel="probability",
        xlim=(likely.min() - 1.5, likely.max() + 1.5),
        xticks=np.arange(likely.min() - 1, likely.max() + 2),
        ylim=(0, 1),
    )
    return axes


def plot_trend(
    results: "Iterable[StoredAnswer] | pd.DataFrame",
    *,
    figure: str = "cn",
    against: str = "time",
    axes: Axes | None = None,
) -> Axes:
    """Draw a figure of many spectra, with the bars that hold the truth nine times in ten.

    Parameters
    ----------
    results
        Stored results, or the data frame that `nearedge.streaming.answers.trend.trend` makes of
        them.
    figure
        ``cn``, ``bond``, ``angle``, ``bridge``, ``misfit`` or ``ood_score``.
    against
        A column of the data frame: ``time``, ``scan`` or any scalar of the runs.
    axes
        Where to draw.

    Raises
    ------
    KeyError
        If the data frame has no such column.
    """
    frame = _frame_of(results)
    if missing := [name for name in (figure, against) if name not in frame.columns]:
        raise KeyError(f"found no column {missing[0]!r}: expected one of {list(frame.columns)}")
    axes = new_axes(axes)
    y = frame[figure].to_numpy(float)
    axes.errorbar(frame[against], y, yerr=_errors(frame, figure), fmt="o", ms=4, color=MEASURED)
    unit = frame.attrs.get("units", {}).get(against)
    axes.set(xlabel=f"{against} / {unit}" if unit else against, ylabel=_label(figure))
    return axes


def _label(column: str) -> str:
    """Return what stands on the axis of a column of the data frame."""
    heads = {one.columns[0].removesuffix("_mean"): one.label for one in FIGURES}
    return heads.get(column, column)


def _frame_of(results: "Iterable[StoredAnswer] | pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    return results if isinstance(results, pd.DataFrame) else trend(results)


def _errors(frame: "pd.DataFrame", figure: str) -> np.ndarray | None:
    """Return how far the bars reach below and above the means, (2, n), or None for no bars."""
    mean = frame[figure].to_numpy(float)
    if figure == "cn":
        lo, hi = _ends_of_sets(frame)
    elif f"{figure}_lo" in frame.columns:
        lo, hi = (frame[f"{figure}_{end}"].to_numpy(float) for end in ("lo", "hi"))
    else:
        return None
    return np.asarray(np.maximum(np.stack([mean - lo, hi - mean]), 0))


def _ends_of_sets(frame: "pd.DataFrame") -> tuple[np.ndarray, np.ndarray]:
    sets = [[float(n) for n in text.split()] or [np.nan] for text in frame["cn_set"]]
    return np.array([min(some) for some in sets]), np.array([max(some) for some in sets])


def as_answer(one: One) -> Answer:
    """Return an answer as it is, and a stored result as an answer."""
    return one if isinstance(one, Answer) else answer_of_result(one)


def new_axes(axes: Axes | None) -> Axes:
    """Return the axes, or those of a new figure."""
    if axes is not None:
        return axes
    return pyplot.figure(figsize=(4.5, 3.2), layout="constrained").subplots()
