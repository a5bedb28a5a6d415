"""Results of a simulated run against the truth that it carried."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich.box import SIMPLE_HEAD
from rich.table import Table

from nearedge.models import Estimates
from nearedge.sim.silica import SilicaTruth, truth_of_metadata
from nearedge.streaming.answers.figures import DASH
from nearedge.streaming.commands.table import figures_text
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.row import Row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """One result beside the truth.

    Attributes
    ----------
    row
        The result, complete or not.
    truth
        What the simulated specimen was.
    """

    row: Row
    truth: SilicaTruth

    @property
    def estimates(self) -> Estimates | None:
        """The figures found, None where there is no answer."""
        return None if self.row.inversion is None else self.row.inversion.estimates

    @property
    def share_in_set(self) -> float | None:
        """Share of the specimen's sites whose coordination number lies in the 90 % set."""
        if self.estimates is None:
            return None
        found = self.estimates.cn_set
        return sum(share for cn, share in self.truth.cn_prob.items() if cn in found)

    @property
    def cn_inside(self) -> bool | None:
        """Whether the true mean CN lies in the stated 90 % interval; None without one."""
        found = self.estimates
        if found is None or found.cn_mean_lo is None or found.cn_mean_hi is None:
            return None
        return found.cn_mean_lo <= self.truth.cn_mean <= found.cn_mean_hi

    @property
    def bond_inside(self) -> bool | None:
        """Whether the true mean bond lies in the stated 90 % interval; None without one."""
        if self.estimates is None or self.estimates.bond is None:
            return None
        return self.estimates.bond.lo <= self.truth.bond_mean <= self.estimates.bond.hi


def compare(rows: Sequence[Row]) -> list[Comparison]:
    """Pair every result with its truth, in the order of the runs; others are left out."""
    pairs = [(row, truth_of_metadata(row.measurement.run.start)) for row in rows]
    known = [Comparison(row=row, truth=truth) for row, truth in pairs if truth is not None]
    return sorted(known, key=lambda c: (c.row.measurement.run.time, c.row.measurement.spectrum))


HEADINGS = ("GPa", "CN true", "found", "90 % set", "in set", "Å true", "found [90 %]", "in")


def summary_table(comparisons: Sequence[Comparison]) -> Table:
    """Return the closing table of a simulated run, at most 80 columns wide where it can be.

    ``in set`` is the share of the specimen's sites whose coordination number lies in the 90 % set;
    the last column tells whether the true mean bond lies in its 90 % interval.
    """
    table = Table(title="CN and mean bond against the truth of the simulation", box=SIMPLE_HEAD)
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    for comparison in comparisons:
        table.add_row(*cells(comparison))
    return table


def cells(comparison: Comparison) -> tuple[str, ...]:
    """Return the texts of one comparison, as many as there are headings."""
    truth, row = comparison.truth, comparison.row
    cn, cn_set, bond = figures_text(row.inversion)
    if row.inversion is None:
        cn = str(row.status)
    share = comparison.share_in_set
    in_set = DASH if share is None else f"{share:.0%}"
    inside = {True: "yes", False: "no", None: DASH}[comparison.bond_inside]
    return (
        f"{truth.pressure:.1f}",
        f"{truth.cn_mean:.2f}",
        *(cn, cn_set),
        in_set,
        f"{truth.bond_mean:.3f}",
        bond,
        inside,
    )


def verdict(comparisons: Sequence[Comparison], *, expected: int) -> list[str]:
    """Return the closing lines: how many are complete, how far off, how fast."""
    complete = [c for c in comparisons if c.row.status is State.COMPLETE]
    lines = [f"{len(complete)} of {expected} spectra have a complete result in the catalog"]
    if not complete:
        return lines
    errors = [abs(c.estimates.cn_mean - c.truth.cn_mean) for c in complete if c.estimates]
    bonds = [c.bond_inside for c in complete if c.bond_inside is not None]
    numbers = [c.cn_inside for c in complete if c.cn_inside is not None]
    latency = median(c.row.latency_s for c in complete)
    return [
        *lines,
        f"mean error of the mean coordination number {sum(errors) / len(errors):.2f}, largest "
        f"{max(errors):.2f}; truth inside its 90 % interval {sum(numbers)} of {len(numbers)} times",
        f"true mean bond inside the 90 % interval {sum(bonds)} of {len(bonds)} times",
        f"end of scan to complete in the catalog: median {latency:.2f} s",
        split_note(complete),
    ]


def split_note(comparisons: Sequence[Comparison]) -> str:
    """Return which splits the specimen's sites are of: what makes the comparison honest."""
    sites = {(id_, split) for c in comparisons for id_, _, split, _ in c.truth.sites}
    count = {split: sum(s == split for _, s in sites) for split in sorted({s for _, s in sites})}
    listed = ", ".join(f"{number} of {split}" for split, number in count.items())
    trained = "yes" if "train" in count else "no"
    return (
        f"trained on these sites: {trained} (sites by split of the data: {listed}; val has stopped "
        "the training and calibrated the intervals, test and glass were never used)"
    )
