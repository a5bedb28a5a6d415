"""Draw an evaluation: one PNG for each question that a reader has."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nearedge.models.evaluation.figures import summarise
from nearedge.models.evaluation.report import MODEL, Report, ReportRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"model": "tab:blue", "templates": "tab:orange", "trees": "tab:green"}
_SPECIES = ("tab:red", "tab:blue", "tab:green", "tab:purple")
_SHARES = {"partial-40": 40, "partial-60": 60, "partial-80": 80, "clean": 100}


def plot(report: Report, folder: Path) -> list[Path]:
    """Draw the plots of docs/accuracy.md into a folder.

    Returns
    -------
        The files written; a plot for which nothing was measured is left out.
    """
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (draw, panels) in _PLOTS.items():
        figure = Figure(figsize=(4.2 * panels, 3.6), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, panels))
        if draw(report, list(axes)):
            figure.savefig(folder / f"{name}.png", dpi=120)
            written.append(folder / f"{name}.png")
    return written


def _first_condition(report: Report, *wanted: str) -> str | None:
    known = {row.condition for row in report.choose()}
    return next((name for name in wanted if name in known), None)


def _confusion(report: Report, axes: "Sequence[Axes]") -> bool:
    """Draw the true coordination number against the most probable one, clean and measured."""
    drawn = False
    for axis, condition in zip(axes, ("clean", "measured"), strict=True):
        rows = [r for r in report.choose(condition=condition) if not np.isnan(r.score.cn_correct)]
        axis.set(title=f"{condition}", xlabel="most probable CN", ylabel="true CN")
        if not rows:
            continue
        true = np.array([row.score.cn_true for row in rows], int)
        said = np.array([row.score.cn_map for row in rows], int)
        size = int(max(true.max(), said.max())) + 1
        counts = np.zeros((size, size), int)
        np.add.at(counts, (true, said), 1)
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, origin="lower")
        for i, j in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[i, j] > 0.5 else "black"
            axis.text(j, i, str(counts[i, j]), ha="center", va="center", color=colour, fontsize=8)
        drawn = True
    return drawn


def _parity(report: Report, axes: "Sequence[Axes]") -> bool:
    """Draw the mean bond of answer and truth, for each absorber."""
    condition = _first_condition(report, "clean", "measured")
    for axis, absorber in zip(
        axes, sorted({r.score.absorber for r in report.choose()}), strict=False
    ):
        rows = [r for r in report.choose(condition=condition) if r.score.absorber == absorber]
        for split, marker in zip(sorted({row.split for row in rows}), "osx^", strict=False):
            chosen = [row.score for row in rows if row.split == split]
            true, said = [s.bond_true for s in chosen], [s.bond_mean for s in chosen]
            axis.plot(true, said, marker, ms=4, alpha=0.6, label=split)
        limits = axis.get_xlim()
        axis.plot(limits, limits, "k-", lw=0.8)
        axis.set(title=f"{absorber}, {condition}", xlabel="true mean bond / Å", ylabel="answer / Å")
        axis.legend()
    return condition is not None


def _rdf(report: Report, axes: "Sequence[Axes]") -> bool:
    """Draw the radial distributions of some answers over the true ones."""
    for axis, curve in zip(axes, _varied(report.curves, len(axes)), strict=False):
        for colour, symbol in zip(
            ("tab:red", "tab:blue", "tab:green"), curve["truth"], strict=False
        ):
            axis.fill_between(curve["r"], curve["truth"][symbol], color=colour, alpha=0.25, lw=0)
            answer = curve["answer"].get(symbol, np.zeros(len(curve["r"])))
            axis.plot(curve["r"], answer, color=colour, label=symbol)
        axis.set(title=f"{curve['absorber']} in {curve['structure']}, CN {curve['cn']:g}")
        axis.set(xlabel="r / Å", ylabel="atoms per Å", xlim=(1, 4))
        axis.legend(title="answer (shaded: true)", fontsize=8, title_fontsize=8)
    return bool(report.curves)


def _varied(curves: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Choose curves of different absorber and coordination first."""
    kinds: set[tuple[str, float]] = set()
    first: list[dict[str, Any]] = []
    rest: list[dict[str, Any]] = []
    for curve in curves:
        kind = (curve["absorber"], curve["cn"])
        (rest if kind in kinds else first).append(curve)
        kinds.add(kind)
    return [*first, *rest][:count]


def _reliability(report: Report, axes: "Sequence[Axes]") -> bool:
    """Draw how often the most probable CN is right against how probable it was said to be."""
    condition = [row for row in report.choose() if not np.isnan(row.score.cn_correct)]
    rows = [row for row in condition if row.condition != "mean"]
    if not rows:
        return False
    said = np.array([row.cn_prob for row in rows])
    right = np.array([row.score.cn_correct for row in rows])
    bins = np.clip(np.digitize(said, np.linspace(0, 1, 11)) - 1, 0, 9)
    filled = [k for k in range(10) if (bins == k).any()]
    x = [said[bins == k].mean() for k in filled]
    y = [right[bins == k].mean() for k in filled]
    axes[0].plot([0, 1], [0, 1], "k-", lw=0.8)
    axes[0].plot(x, y, "o-")
    for k, a, b in zip(filled, x, y, strict=True):
        axes[0].annotate(
            str((bins == k).sum()), (a, b), fontsize=8, xytext=(4, -10), textcoords="offset points"
        )
    axes[0].set(xlabel="stated probability of the CN", ylabel="share that is right")
    axes[0].set(title="all conditions", xlim=(0, 1.02), ylim=(0, 1.02))
    return True


def _noise(report: Report, axes: "Sequence[Axes]") -> bool:
    """Draw the errors against the counts at the edge step."""
    counts = [level.counts for level in report.noise]
    found = [summarise(level.scores) for level in report.noise]
    for axis, (key, label, scale) in zip(axes, _ERRORS, strict=True):
        values = [np.nan if one[key] is None else one[key] * scale for one in found]
        axis.semilogx(counts, values, "o-")
        axis.set(xlabel="counts at the edge step", ylabel=label, ylim=(0, None))
    return bool(counts)


_ERRORS = (("cn_error", "CN error / %", 100.0), ("bond_mae", "bond by bond / Å", 1.0))


def _share(report: Report, axes: "Sequence[Axes]") -> bool:
    """Draw the errors against the share of the scan that was measured."""
    drawn = False
    for method, colour in _COLOURS.items():
        points = [
            (share, summarise([row.score for row in _common(report, condition, method)]))
            for condition, share in _SHARES.items()
            if report.choose(condition=condition, method=method)
        ]
        for axis, (key, label, scale) in zip(axes, _ERRORS, strict=True):
            values = [np.nan if f[key] is None else f[key] * scale for _, f in points]
            axis.plot([share for share, _ in points], values, "o-", color=colour, label=method)
            axis.set(xlabel="share of the scan / %", ylabel=label)
            axis.legend()
        drawn |= len(points) > 1
    for axis in axes:
        axis.set_ylim(0, None)
    return drawn


def _common(report: Report, condition: str, method: str) -> list[ReportRow]:
    """Return the rows of sites that have an answer at every share, so that the shares compare."""
    present = [c for c in _SHARES if report.choose(condition=c, method=MODEL)]
    each = [{row.id for row in report.choose(condition=c, method=MODEL)} for c in present]
    everywhere = set.intersection(*each) if each else set()
    rows = report.choose(condition=condition, method=method)
    return [row for row in rows if not each or row.id in everywhere]


_PLOTS: dict[str, tuple[Callable[[Report, "Sequence[Axes]"], bool], int]] = {
    "cn-confusion": (_confusion, 2),
    "bond-parity": (_parity, 2),
    "rdf": (_rdf, 4),
    "reliability": (_reliability, 1),
    "noise": (_noise, 2),
    "partial": (_share, 2),
}
