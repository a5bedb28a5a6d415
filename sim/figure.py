"""The picture of a simulated run: coordination against pressure, spectra, radial distributions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nearedge.models import Estimates, NormalisedSpectrum
from nearedge.sim.comparison import Comparison
from nearedge.sim.silica import SilicaTruth, Specimen

Answered = tuple[Comparison, Estimates]

TRUE, FOUND = "black", "tab:red"
ENDS = ("tab:blue", "tab:orange")


def draw(comparisons: Sequence[Comparison], specimen: Specimen, path: Path) -> None:
    """Draw the results beside the truth and save the picture as PNG.

    Parameters
    ----------
    comparisons
        The comparisons in the order of measurement; those without an answer are left out.
    specimen
        What was measured: its truth is drawn at all pressures.
    path
        The path of the PNG file.
    """
    answered = [(c, c.estimates) for c in comparisons if c.estimates is not None]
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    draw_coordination(left, answered, specimen)
    for (comparison, estimates), colour in zip(ends(answered), ENDS, strict=False):
        draw_spectrum(middle, comparison, colour)
        draw_rdf(right, estimates, comparison.truth, specimen, colour)
    label_axes(middle, right, specimen)
    figure.savefig(path, dpi=150)


def ends(answered: Sequence[Answered]) -> list[Answered]:
    """Return the first and the last."""
    return [answered[0], answered[-1]] if len(answered) > 1 else list(answered)


def draw_coordination(axes: Axes, answered: Sequence[Answered], specimen: Specimen) -> None:
    """Draw the mean coordination number against pressure, with its 90 % interval as bars."""
    pressures = [c.truth.pressure for c, _ in answered]
    fine = np.linspace(min(pressures, default=0.0), max(pressures, default=60.0), 200)
    axes.plot(fine, [specimen.truth(p).cn_mean for p in fine], color=TRUE, label="true mean")
    for pressure, (_, estimates) in zip(pressures, answered, strict=True):
        if estimates.cn_mean_lo is not None and estimates.cn_mean_hi is not None:
            bar = [estimates.cn_mean_lo, estimates.cn_mean_hi]
            axes.plot([pressure] * 2, bar, color=FOUND, lw=4, alpha=0.25)
    found = [estimates.cn_mean for _, estimates in answered]
    axes.plot(pressures, found, "o", color=FOUND, label="found (bar: 90 %)")
    axes.set(
        xlabel="pressure / GPa", ylabel=f"coordination of {specimen.absorber}", title=specimen.name
    )
    axes.legend(frameon=False)


def draw_spectrum(axes: Axes, comparison: Comparison, colour: str) -> None:
    """Draw the normalised spectrum that was inverted."""
    spectrum = comparison.row.outcome
    if isinstance(spectrum, NormalisedSpectrum):
        label = f"{comparison.truth.pressure:.0f} GPa"
        axes.plot(spectrum.energy - spectrum.e0, spectrum.flat, color=colour, label=label)


def draw_rdf(
    axes: Axes, estimates: Estimates, truth: SilicaTruth, specimen: Specimen, colour: str
) -> None:
    """Draw all species' radial distribution, found (filled) and true (line)."""
    r = estimates.rdf_r
    found = np.sum(list(estimates.rdf.values()), axis=0)
    true = np.sum(list(specimen.rdf(r, pressure=truth.pressure).values()), axis=0)
    label = f"{truth.pressure:.0f} GPa"
    axes.fill_between(r, found, color=colour, alpha=0.35, lw=0, label=f"{label} found")
    axes.plot(r, true, color=colour, label=f"{label} true")


def label_axes(spectra: Axes, rdf: Axes, specimen: Specimen) -> None:
    """Name what the axes show."""
    spectra.set(
        xlabel="energy from e0 / eV",
        ylabel="normalised absorption",
        title=f"{specimen.absorber} {specimen.edge} edge",
        xlim=(-20, 60),
    )
    rdf.set(xlabel="r / Å", ylabel="atoms per Å", title="neighbours", xlim=(1.0, 4.0), ylim=0)
    for axes in (spectra, rdf):
        if axes.has_data():
            axes.legend(frameon=False, fontsize="small")
