"""What ``nearedge compare`` finds, as JSON, tables and CSV."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from nearedge.models.comparing.combination import Combination, best_combinations
from nearedge.models.comparing.common import RANGE, CompareError
from nearedge.models.comparing.series import Analysis, analyse, series_mixtures
from nearedge.models.maps.mixtures import Mixtures
from nearedge.streaming.answers.components import components_text, told_components
from nearedge.streaming.answers.figures import BOND, CN, DASH
from nearedge.streaming.answers.plain import plain
from nearedge.streaming.commands.compare_sources import ComparedSpectrum

SHOWN = 40
"""Rows of a table of a series."""
SCREE = 8
"""Components that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """How spectra are fitted.

    Attributes
    ----------
    span
        eV from e0.
    most
        Members of a fit at most; None: all.
    to_one
        Whether weights add up to 1.
    most_shift
        eV by which the spectrum may be shifted against the members.
    """

    span: tuple[float, float] = RANGE
    most: int | None = None
    to_one: bool = False
    most_shift: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitReport:
    """One spectrum fitted by end members.

    Attributes
    ----------
    target, members
        What was fitted, and by what.
    fits
        The best first.
    most_shift
        eV by which the target could be shifted.
    """

    target: ComparedSpectrum
    members: tuple[ComparedSpectrum, ...]
    fits: tuple[Combination, ...]
    most_shift: float = 0.0

    @property
    def at_bound(self) -> bool:
        """Whether the best fit would be shifted farther."""
        return self.fits[0].at_bound(self.most_shift)

    def of_members(self, fit: Combination, figure: str) -> float | None:
        """Return a figure of the mixture: the mean over the members' own answers, by weight.

        None where a member has no answer.
        """
        known = {one.name: one.mean(figure) for one in self.members}
        values = [known[name] for name in fit.members]
        if any(value is None for value in values) or fit.total <= 0:
            return None
        return float(np.dot(fit.weights, np.array(values, float)) / fit.total)

    def as_json(self) -> dict[str, Any]:
        """Return everything but the curves."""
        return {
            "target": _about(self.target),
            "members": [_about(one) for one in self.members],
            "fits": [plain(self._fit(one)) for one in self.fits],
        }

    def _fit(self, fit: Combination) -> dict[str, Any]:
        numbers = (
            *("total", "total_error", "shift", "r_factor", "chi_square", "reduced_chi_square"),
            *("misfit", "noise", "to_one"),
        )
        return {
            "members": list(fit.members),
            "weights": fit.weights,
            "errors": fit.errors,
            **{name: getattr(fit, name) for name in numbers},
            "points": len(fit.energy),
            "from": fit.energy[0],
            "to": fit.energy[-1],
            **{f"{name}_of_members": self.of_members(fit, name) for name in ("cn", "bond")},
        }

    def words(self) -> Iterator[str]:
        """Yield what stands above the table."""
        best, spectrum = self.fits[0], self.target.spectrum
        yield f"{self.target.name}, {self.target.edge} edge: {said_of(self.target)}"
        yield (
            f"fitted from {best.energy[0]:.1f} to {best.energy[-1]:.1f} eV (e0 {spectrum.e0:.1f} "
            f"eV), {len(best.energy)} energies; the best fit leaves {best.misfit:.4f} edge steps, "
            f"the noise of a point is {best.noise:.4f}"
        )
        if self.at_bound:
            yield f"its shift of {best.shift:.2f} eV is at the bound: allow more, or distrust it"

    def table(self) -> Table:
        """Return the fits, the best first."""
        table = Table(box=None, pad_edge=False)
        heads = ("end members", "sum", "R-factor", "red. χ²", "misfit")
        for head in (*heads, "shift, eV", f"{CN.symbol} of members", f"{BOND.symbol} of members"):
            table.add_column(head, justify="left" if head == "end members" else "right")
        for fit in self.fits:
            members = "\n".join(
                f"{name} {_with_error(weight, error)}"
                for name, weight, error in zip(fit.members, fit.weights, fit.errors, strict=True)
            )
            table.add_row(
                members,
                _with_error(fit.total, fit.total_error),
                f"{fit.r_factor:.5f}",
                f"{fit.reduced_chi_square:.2e}",
                f"{fit.misfit:.4f}",
                f"{fit.shift:.2f}",
                _number(self.of_members(fit, "cn"), 2),
                _number(self.of_members(fit, "bond"), 3),
            )
        return table

    def csv(self) -> str:
        """Return the curves of the best fit."""
        best = self.fits[0]
        head = ["energy", "spectrum", "fit", "residual", *best.members]
        columns = [best.energy, best.target, best.fit, best.residual, *best.parts]
        return _csv(head, zip(*columns, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeriesReport:
    """A series: its components, and its end members, if any are named.

    Attributes
    ----------
    series, members
        The spectra, and the end members.
    found
        The components.
    fit
        Weights of the members in every spectrum; None without members.
    off
        How far each member lies from all mixtures of the components, edge steps.
    """

    series: tuple[ComparedSpectrum, ...]
    members: tuple[ComparedSpectrum, ...]
    found: Analysis
    fit: Mixtures | None
    off: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """Return everything but the spectra."""
        return {
            "series": [_about(one) for one in self.series],
            "members": [
                _about(one) | {"target_test": off}
                for one, off in zip(self.members, self.off, strict=True)
            ],
            "components": told_components(self.found),
            "weights": None if self.fit is None else plain(self.fit.fractions),
            "misfit": None if self.fit is None else plain(self.fit.misfit),
        }

    def words(self) -> Iterator[str]:
        """Yield what stands above the table."""
        at = self.found.energy
        yield (
            f"{len(self.series)} spectra of the {self.series[0].edge} edge from {at[0]:.1f} to "
            f"{at[-1]:.1f} eV"
        )
        yield components_text(self.found)
        shares = ", ".join(f"{100 * share:.2f}" for share in self.found.shares[:SCREE])
        yield f"variance in the first components, %: {shares}"
        for one, off in zip(self.members, self.off, strict=True):
            yield f"{one.name} lies {off:.4f} edge steps from all mixtures of the components"

    def table(self) -> Table:
        """Return the weights over the series, beside the model's answers."""
        table = Table(box=None, pad_edge=False)
        fit = self.fit
        table.add_column("spectrum")
        heads = [] if fit is None else [*(one.name for one in self.members), "sum", "misfit"]
        for head in (*heads, f"{CN.symbol} by the model", BOND.heading):
            table.add_column(head, justify="right")
        step = -(-len(self.series) // SHOWN)
        for k in range(0, len(self.series), step):
            one = self.series[k]
            weights = [] if fit is None else [f"{w:.3f}" for w in fit.fractions[k]]
            ends = [] if fit is None else [f"{fit.fractions[k].sum():.3f}", f"{fit.misfit[k]:.4f}"]
            told = _number(one.mean("cn"), 2), _number(one.mean("bond"), 3)
            table.add_row(one.name, *weights, *ends, *told)
        return table

    def csv(self) -> str:
        """Return a row for each spectrum."""
        fit, found = self.fit, self.found.components
        scores = found.scores(self.found.flat)
        heads = [] if fit is None else [*(one.name for one in self.members), "sum", "misfit"]
        head = ["spectrum", *heads, "cn_mean", "bond_mean"]
        head += [f"component_{k + 1}" for k in range(found.rank)]
        rows = []
        for k, one in enumerate(self.series):
            fractions = [] if fit is None else fit.fractions[k].tolist()
            ends = [] if fit is None else [sum(fractions), fit.misfit[k]]
            told = [one.mean("cn"), one.mean("bond")]
            rows.append([one.name, *fractions, *ends, *told, *scores[k]])
        return _csv(head, rows)


def compared(
    targets: Sequence[ComparedSpectrum],
    members: Sequence[ComparedSpectrum],
    options: CompareOptions,
) -> FitReport | SeriesReport:
    """Fit one spectrum by end members, or analyse a series of several.

    Raises
    ------
    CompareError
        If the spectra cannot be compared, or there is nothing to compare.
    """
    if not targets:
        raise CompareError("found no spectrum to compare; expected one, or a series of three")
    others = _without(targets, members) if len(targets) == 1 else tuple(members)
    if len(targets) > 1:
        return _series(tuple(targets), others, options)
    if not others:
        raise CompareError(
            f"found no end member for {targets[0].name}; name results, files or folders of "
            "references with --with"
        )
    fits = best_combinations(
        targets[0],
        others,
        span=options.span,
        most=options.most,
        to_one=options.to_one,
        most_shift=options.most_shift,
    )
    if not fits:
        raise CompareError(f"found no sum of the end members that is like {targets[0].name}")
    return FitReport(
        target=targets[0], members=others, fits=tuple(fits), most_shift=options.most_shift
    )


def _series(
    targets: tuple[ComparedSpectrum, ...],
    members: tuple[ComparedSpectrum, ...],
    options: CompareOptions,
) -> SeriesReport:
    if options.to_one or options.most_shift or options.most is not None:
        raise CompareError(
            f"found {len(targets)} spectra: a series is fitted by all end members with a free sum "
            "and no shift; leave --most, --sum-to-one and --shift out, or name one spectrum"
        )
    if not members:
        return SeriesReport(
            series=targets,
            members=(),
            found=analyse(targets, span=options.span),
            fit=None,
            off=(),
        )
    fit, common = series_mixtures(targets, members, span=options.span)
    span = common.energy[0] - targets[0].spectrum.e0, common.energy[-1] - targets[0].spectrum.e0
    found = analyse(targets, span=(float(span[0]), float(span[1])))
    off = tuple(found.off(one) for one in common.flat[len(targets) :])
    return SeriesReport(series=targets, members=members, found=found, fit=fit, off=off)


def _without(
    targets: Sequence[ComparedSpectrum], members: Sequence[ComparedSpectrum]
) -> tuple[ComparedSpectrum, ...]:
    """Return the members that are not the target itself, which may lie in the same folder."""
    own = targets[0].spectrum
    return tuple(
        one
        for one in members
        if not (
            np.array_equal(one.spectrum.energy, own.energy)
            and np.array_equal(one.spectrum.flat, own.flat)
        )
    )


def said_of(one: ComparedSpectrum) -> str:
    """Return what the model said of a spectrum, in words."""
    if not one.figures.get("cn"):
        return "no answer of the model" + ("" if one.key else ": a file ('nearedge invert')")
    cn, bond = one.figures["cn"], one.figures.get("bond")
    bounds = CN.bounds_text(cn) if "set" in cn else ""
    return f"{CN.symbol} {CN.text(cn)} {bounds}, {BOND.symbol} {BOND.text(bond)} Å by the model"


def _about(one: ComparedSpectrum) -> dict[str, Any]:
    return {
        "name": one.name,
        "key": one.key,
        "edge": one.edge,
        "e0": one.spectrum.e0,
        "answer": plain(dict(one.figures)) or None,
    }


def _with_error(value: float, error: float) -> str:
    return f"{value:.3f} ± {error:.3f}" if np.isfinite(error) else f"{value:.3f}"


def _number(value: float | None, digits: int) -> str:
    return DASH if value is None else f"{value:.{digits}f}"


def _csv(head: Sequence[str], rows: Any) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(head)
    for row in rows:
        writer.writerow([f"{x:.6g}" if isinstance(x, float) else x for x in row])
    return out.getvalue()
