"""Measured standards: what is found of compounds whose structure is known, beside the truth.

A scan counts once; compounds count alike, however many scans there are of each. The truth of a
compound with several sites is their mean, so it need not be a whole number.
"""

import csv
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from nearedge.models.inversion import Inversion
from nearedge.models.spectrum import Rejected

#: A coordination number is right within so much of the truth.
RIGHT = 0.5
#: Flags by which an answer says that it may be wrong.
DOUBTS = ("out-of-distribution", "not-explained", "cn-undecided")
COLUMNS = ("file", "compound", "absorber", "edge", "cn_true", "bond_mean_A")
_SLACK = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Standard:
    """One scan of a compound whose structure is known.

    Attributes
    ----------
    file
        Relative to the folder.
    compound, absorber, edge
        What was measured.
    cn, bond
        True coordination number and mean first-shell distance (Å), means over the sites.
    learned
        Whether the model has learned from scans of the compound: then its answer proves little.
    """

    file: str
    compound: str
    absorber: str
    edge: str
    cn: float
    bond: float
    learned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardAnswer:
    """What a method says of one scan.

    Attributes
    ----------
    cn, bond
        Most probable coordination number and mean bond, Å.
    cn_set, bond_range
        90 % set and interval, if it has any.
    doubts
        Those of `DOUBTS` that it has.
    """

    cn: float
    bond: float
    cn_set: tuple[int, ...] | None = None
    bond_range: tuple[float, float] | None = None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Compound:
    """The scans of one compound and absorber: those answered, and why others were not."""

    name: str
    absorber: str
    cn: float
    bond: float
    found: tuple[StandardAnswer, ...]
    refused: tuple[str, ...]
    learned: bool = False

    @property
    def cn_right(self) -> bool:
        """Whether the scans' coordination numbers are right in the mean."""
        return fmean(abs(one.cn - self.cn) for one in self.found) <= RIGHT + _SLACK

    @property
    def bond_error(self) -> float:
        """Mean absolute error of the scans' bonds, Å."""
        return fmean(abs(one.bond - self.bond) for one in self.found)


def read_truth(path: Path) -> list[Standard]:
    """Read a table of standards: CSV with the columns `COLUMNS`; others are passed over.

    A row without CN or bond, or whose ``confidence`` is ``none``, is no standard.

    Raises
    ------
    ValueError
        If a column is missing, a number is none, or no row is left.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
            raise ValueError(
                f"{path} has no column {', '.join(missing)}; expected {', '.join(COLUMNS)}"
            )
        found = [one for row in reader if (one := _standard(row, path)) is not None]
    if not found:
        raise ValueError(f"{path} holds no compound with cn_true and bond_mean_A")
    return found


def _standard(row: Mapping[str, str], path: Path) -> Standard | None:
    if not (row["cn_true"] and row["bond_mean_A"]) or row.get("confidence") == "none":
        return None
    try:
        cn, bond = float(row["cn_true"]), float(row["bond_mean_A"])
    except ValueError as error:
        raise ValueError(f"{path}, {row['file']}: {error}; expected CN and bond in Å") from None
    return Standard(
        file=row["file"],
        compound=row["compound"],
        absorber=row["absorber"],
        edge=row["edge"],
        cn=cn,
        bond=bond,
    )


def found_of(answer: Inversion | Rejected) -> StandardAnswer | str:
    """Return what an answer says, or why there is none: the reason in one word."""
    if isinstance(answer, Rejected):
        return answer.reason.value
    estimates = answer.estimates
    bond = estimates.bond
    return StandardAnswer(
        cn=float(estimates.cn_map),
        cn_set=estimates.cn_set,
        bond=math.nan if bond is None else bond.mean,
        bond_range=None if bond is None else (bond.lo, bond.hi),
        doubts=tuple(flag for flag in DOUBTS if flag in answer.flags),
    )


def compounds(
    standards: Sequence[Standard], answers: Mapping[str, StandardAnswer | str]
) -> list[Compound]:
    """Put the scans of each compound together, by absorber and name.

    Parameters
    ----------
    standards
        The scans.
    answers
        For each file what was found, or why nothing was.
    """
    together: dict[tuple[str, str], list[Standard]] = defaultdict(list)
    for one in standards:
        together[one.absorber, one.compound].append(one)
    return [
        _compound(scans, [answers[one.file] for one in scans])
        for _, scans in sorted(together.items())
    ]


def _compound(scans: Sequence[Standard], answers: Sequence[StandardAnswer | str]) -> Compound:
    first = scans[0]
    return Compound(
        name=first.compound,
        absorber=first.absorber,
        cn=first.cn,
        bond=first.bond,
        found=tuple(one for one in answers if isinstance(one, StandardAnswer)),
        refused=tuple(one for one in answers if isinstance(one, str)),
        learned=first.learned,
    )


def _share(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None


def _held(
    some: Sequence[Compound], holds: Callable[[Compound, StandardAnswer], bool | None]
) -> float | None:
    """Return the share of the scans that hold the truth, compounds counting alike."""
    found = [[h for scan in one.found if (h := holds(one, scan)) is not None] for one in some]
    shares = [fmean(held) for held in found if held]
    return fmean(shares) if shares else None


def _cn_held(one: Compound, scan: StandardAnswer) -> bool | None:
    if scan.cn_set is None:
        return None
    return any(abs(one.cn - cn) <= RIGHT + _SLACK for cn in scan.cn_set)


def _bond_held(one: Compound, scan: StandardAnswer) -> bool | None:
    if scan.bond_range is None:
        return None
    return scan.bond_range[0] <= one.bond <= scan.bond_range[1]


def figures(every: Sequence[Compound]) -> dict[str, Any]:
    """Return the figures of a set of compounds.

    Returns
    -------
        ``compounds`` and how many were ``answered``; of these ``cn_right`` (share), ``bond_error``
        (median, Å), and ``cn_held``, ``bond_held`` (shares whose 90 % set or interval holds the
        truth, a mixture's CN within `RIGHT`); None where there is nothing to count.
    """
    some = [one for one in every if one.found]
    errors = [e for one in some if not math.isnan(e := one.bond_error)]
    return {
        "compounds": len(every),
        "answered": len(some),
        "cn_right": _share([one.cn_right for one in some]),
        "bond_error": median(errors) if errors else None,
        "cn_held": _held(some, _cn_held),
        "bond_held": _held(some, _bond_held),
    }


def unflagged(every: Sequence[Compound]) -> list[Compound]:
    """Return the compounds with those answers alone that have no flag of doubt."""
    return [
        replace(
            one,
            found=tuple(scan for scan in one.found if not scan.doubts),
            refused=one.refused + tuple(scan.doubts[0] for scan in one.found if scan.doubts),
        )
        for one in every
    ]


def unseen(every: Sequence[Compound]) -> list[Compound]:
    """Return the compounds that the model has not learned from."""
    return [one for one in every if not one.learned]


def marked(standards: Sequence[Standard], learned: Iterable[tuple[str, str]]) -> list[Standard]:
    """Mark those of which a model has learned, by absorber and compound."""
    pairs = set(learned)
    return [replace(one, learned=(one.absorber, one.compound) in pairs) for one in standards]


def to_dict(
    every: Sequence[Compound], baselines: Mapping[str, Sequence[Compound]]
) -> dict[str, Any]:
    """Return all that `to_markdown` shows, for JSON."""
    return {
        "compounds": [_row(one) for one in every],
        "all": figures(every),
        "not flagged": figures(unflagged(every)),
        "not learned from": figures(unseen(every)),
        "by element": {a: figures(some) for a, some in _by_absorber(every).items()},
        "baselines": {name: figures(some) for name, some in baselines.items()},
    }


def _by_absorber(every: Sequence[Compound]) -> dict[str, list[Compound]]:
    found: dict[str, list[Compound]] = defaultdict(list)
    for one in every:
        found[one.absorber].append(one)
    return dict(sorted(found.items()))


def _row(one: Compound) -> dict[str, Any]:
    scans = one.found
    row: dict[str, Any] = {"absorber": one.absorber, "compound": one.name}
    row |= {"scans": len(scans) + len(one.refused), "cn_true": one.cn, "bond_true": one.bond}
    refused = ", ".join(sorted(set(one.refused)))
    if not scans:
        return row | {"flag": refused}
    return row | {
        "cn": fmean(scan.cn for scan in scans),
        "cn_set": sorted({cn for scan in scans for cn in scan.cn_set or ()}),
        "bond": fmean(scan.bond for scan in scans),
        "bond_lo": _mean([scan.bond_range[0] for scan in scans if scan.bond_range]),
        "bond_hi": _mean([scan.bond_range[1] for scan in scans if scan.bond_range]),
        "flag": ", ".join(filter(None, [_flagged(scans), refused, "learned" * one.learned])),
    }


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _flagged(scans: Sequence[StandardAnswer]) -> str:
    count = Counter(flag for scan in scans for flag in scan.doubts)
    return ", ".join(f"{flag} ({n} of {len(scans)})" for flag, n in count.items())


def to_markdown(every: Sequence[Compound], baselines: Mapping[str, Sequence[Compound]]) -> str:
    """Return the tables: by compound, by element, and all beside the baselines."""
    return "\n".join([*_compound_table(every), "", *_summary(every, baselines)])


def _compound_table(every: Sequence[Compound]) -> Iterator[str]:
    yield "| absorber | compound | CN true | found | 90 % | bond true, Å | found | 90 % | flag |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for one in every:
        row = _row(one)
        start = f"| {one.absorber} | {one.name} | {one.cn:g} |"
        if not one.found:
            yield f"{start} – | – | {one.bond:.3f} | – | – | {row['flag']} |"
            continue
        bonds = _range(row["bond_lo"], row["bond_hi"], ".2f")
        yield (
            f"{start} {row['cn']:.3g} | {' '.join(map(str, row['cn_set'])) or '–'} "
            f"| {one.bond:.3f} | {row['bond']:.3f} | {bonds} | {row['flag']} |"
        )


def _range(lo: float | None, hi: float | None, form: str) -> str:
    return "–" if lo is None or hi is None else f"{lo:{form}} to {hi:{form}}"


def _summary(
    every: Sequence[Compound], baselines: Mapping[str, Sequence[Compound]]
) -> Iterator[str]:
    yield "| | compounds | answered | CN within 0.5 | median bond error, Å | CN held | bond held |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, some in _by_absorber(every).items():
        yield _figures_row(name, some)
    yield _figures_row("all", every)
    yield _figures_row("not flagged", unflagged(every))
    yield _figures_row("not learned from", unseen(every))
    for name, guessed in baselines.items():
        yield _figures_row(name, guessed)


def _figures_row(name: str, some: Sequence[Compound]) -> str:
    found = figures(some)
    shares = {
        key: "–" if found[key] is None else f"{100 * found[key]:.0f} %"
        for key in ("cn_right", "cn_held", "bond_held")
    }
    error = "–" if found["bond_error"] is None else f"{found['bond_error']:.3f}"
    return (
        f"| {name} | {found['compounds']} | {found['answered']} | {shares['cn_right']} | {error} "
        f"| {shares['cn_held']} | {shares['bond_held']} |"
    )
