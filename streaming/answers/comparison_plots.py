"""Figures of comparisons, drawn with matplotlib: a fit by end members, and a series."""

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure

from nearedge.models.comparing.combination import Combination
from nearedge.models.comparing.series import Analysis
from nearedge.models.maps.mixtures import Mixtures
from nearedge.streaming.answers.plots import FAINT, IMPLIED, MEASURED, THIRD

_SHOWN = 4  # components


def plot_combination(fit: Combination, *, name: str) -> Figure:
    """Draw a spectrum, its fit and the parts of the end members, and the residual below."""
    figure = pyplot.figure(figsize=(6, 4.5), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    top.plot(fit.energy, fit.target, color=MEASURED, label=name)
    top.plot(fit.energy, fit.fit, color=IMPLIED, ls="--", label="sum of the end members")
    for part, member, weight in zip(fit.parts, fit.members, fit.weights, strict=True):
        top.plot(fit.energy, part, lw=0.9, label=f"{weight:.2f} {member}")
    top.legend(frameon=False, fontsize="small")
    top.set(ylabel="flattened absorption")
    bottom.axhline(0, color=FAINT, lw=0.8)
    bottom.plot(fit.energy, fit.residual, color=THIRD)
    bottom.set(xlabel="energy / eV", ylabel="residual")
    return figure


def plot_series(
    found: Analysis, *, fit: Mixtures | None = None, members: Sequence[str] = ()
) -> Figure:
    """Draw the scree with the indicator, the components, and the weights or the scores."""
    figure = pyplot.figure(figsize=(11, 3.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    indicator = found.indicator
    strengths = found.components.strengths[: len(indicator) + 1]  # the mean took one
    number = np.arange(1, len(strengths) + 1)
    left.semilogy(number, strengths, "o", color=MEASURED, ms=4, label="singular value")
    left.axhline(found.components.threshold, color=FAINT, ls=":", label="noise ends here")
    left.semilogy(number[: len(indicator)], indicator, "x", color=IMPLIED, ms=4, label="indicator")
    left.set(xlabel="component")
    left.legend(frameon=False, fontsize="small")
    for k, vector in enumerate(found.components.vectors[:_SHOWN]):
        middle.plot(found.energy, vector, label=f"component {k + 1}")
    middle.set(xlabel="energy / eV")
    shown = found.components.scores(found.flat)[:, :_SHOWN] if fit is None else fit.fractions
    names = list(members) or [f"component {k + 1}" for k in range(shown.shape[1])]
    for column, name in zip(shown.T, names, strict=True):
        right.plot(column, "o-", ms=3, label=name)
    right.set(xlabel="spectrum", ylabel="score" if fit is None else "weight")
    for axes in (middle, right):
        if axes.lines:
            axes.legend(frameon=False, fontsize="small")
    return figure
