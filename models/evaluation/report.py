"""The outcome of an evaluation, as figures, JSON and Markdown."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nearedge.models.evaluation.contrast import COMPARED, Contrast, contrast
from nearedge.models.evaluation.figures import Score, ood_auc, summarise

#: The method that is evaluated; the others are its baselines.
MODEL = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """One scored answer.

    Attributes
    ----------
    condition, method, split, id
        Which spectrum was answered, and by which method; ``id`` is that of its first site.
    score
        Its figures.
    cn_prob
        Probability that the model states for its most probable CN; NaN for baselines.
    ood_score, ood_flag
        The score and the flag of the model; NaN and False for baselines.
    cpu_s
        CPU seconds of the model's answer; NaN for baselines.
    """

    condition: str
    method: str
    split: str
    id: str
    score: Score
    cn_prob: float = float("nan")
    ood_score: float = float("nan")
    ood_flag: bool = False
    cpu_s: float = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignScore:
    """The out-of-distribution score of a spectrum of some other material, asked about as ours."""

    condition: str
    id: str
    asked_as: str
    ood_score: float
    ood_flag: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseLevel:
    """The model's scores at so many counts at the edge step."""

    counts: float
    scores: tuple[Score, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that an evaluation measured.

    Attributes
    ----------
    settings
        Model digest, samples, quality, seed, sites by split: what makes the report again.
    rows
        Every scored answer.
    rejected
        How many spectra were rejected, and why, by condition and split.
    foreign
        Out-of-distribution scores of foreign spectra.
    noise
        The model's scores by counts.
    curves
        Radial distributions of some answers beside the true ones.
    """

    settings: dict[str, Any]
    rows: tuple[ReportRow, ...]
    rejected: dict[str, dict[str, dict[str, int]]]
    foreign: tuple[ForeignScore, ...]
    noise: tuple[NoiseLevel, ...]
    curves: tuple[dict[str, Any], ...]

    def choose(
        self, *, condition: str | None = None, method: str = MODEL, split: str | None = None
    ) -> list[ReportRow]:
        """Return the rows of one method, under one condition and of one split where given."""
        return [
            row
            for row in self.rows
            if row.method == method
            and condition in (None, row.condition)
            and split in (None, row.split)
        ]

    def figures(self) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
        """Give the figures by condition, method, split, and absorber (``all`` for every one)."""
        out: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
        for condition, method, split in dict.fromkeys(
            (row.condition, row.method, row.split) for row in self.rows
        ):
            rows = self.choose(condition=condition, method=method, split=split)
            of_split = {absorber: summarise(found) for absorber, found in _by_absorber(rows)}
            out.setdefault(condition, {}).setdefault(method, {})[split] = of_split
        return out

    def contrasts(self) -> dict[str, dict[str, dict[str, dict[str, Contrast | None]]]]:
        """Compare the model with each baseline: by condition, split, baseline and figure."""
        out: dict[str, dict[str, dict[str, dict[str, Contrast | None]]]] = {}
        for condition, method, split in dict.fromkeys(
            (row.condition, row.method, row.split) for row in self.rows if row.method != MODEL
        ):
            mine, other = (
                {r.id: r.score for r in self.choose(condition=condition, method=m, split=split)}
                for m in (MODEL, method)
            )
            found = {figure: contrast(mine, other, figure) for figure in COMPARED}
            out.setdefault(condition, {}).setdefault(split, {})[method] = found
        return out

    def ood(self) -> dict[str, dict[str, float | None]]:
        """Give area under the ROC curve and shares flagged, by condition with foreign spectra."""
        out: dict[str, dict[str, float | None]] = {}
        for condition in dict.fromkeys(one.condition for one in self.foreign):
            inside = self.choose(condition=condition)
            outside = [one for one in self.foreign if one.condition == condition]
            out[condition] = {
                "ood_auc": ood_auc(_scores_of(inside), _scores_of(outside)),
                "flagged_inside": _share([row.ood_flag for row in inside]),
                "flagged_foreign": _share([one.ood_flag for one in outside]),
                "foreign": float(len(outside)),
            }
        return out

    def cpu_s(self) -> float | None:
        """Return the mean CPU seconds of the model's answers."""
        spent = [row.cpu_s for row in self.choose()]
        return float(np.mean(spent)) if spent else None

    def to_dict(self) -> dict[str, Any]:
        """Give all figures, without the single rows, as plain values."""
        return {
            "settings": self.settings,
            "figures": self.figures(),
            "contrasts": _plain(self.contrasts()),
            "ood": self.ood(),
            "cpu_s": self.cpu_s(),
            "rejected": self.rejected,
            "noise": [{"counts": n.counts, **summarise(n.scores)} for n in self.noise],
        }

    def to_json(self) -> str:
        """Give all figures as JSON."""
        return json.dumps(self.to_dict(), indent=1)

    def to_markdown(self) -> str:
        """Give all figures as Markdown: a table for each condition, then what stands alone."""
        figures = self.figures()
        parts = [_condition_table(name, methods) for name, methods in figures.items()]
        compared = _contrast_table(self)
        return "\n\n".join([*parts, *compared, _confusions(figures), _alone(self)]) + "\n"


def _by_absorber(rows: Sequence[ReportRow]) -> Iterator[tuple[str, list[Score]]]:
    yield "all", [row.score for row in rows]
    for absorber in sorted({row.score.absorber for row in rows}):
        yield absorber, [row.score for row in rows if row.score.absorber == absorber]


def _scores_of(rows: Sequence[ReportRow] | Sequence[ForeignScore]) -> np.ndarray:
    return np.array([row.ood_score for row in rows])


def _share(flags: Sequence[bool]) -> float | None:
    return float(np.mean(flags)) if flags else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A line of the tables: how a figure is named, scaled and rounded, and which way is better."""

    label: str
    key: str
    absorber: str = "all"
    scale: float = 1.0
    digits: int = 3
    better: int = -1  # -1 smaller, 1 larger, 0 neither


_LINES = (
    _Line(label="rows", key="rows", digits=0, better=0),
    _Line(label="`cn_error`, macro, %", key="cn_error_macro", scale=100, digits=1),
    _Line(label="`cn_error`, %", key="cn_error", scale=100, digits=1),
    _Line(label="`cn_accuracy`, macro, %", key="cn_accuracy_macro", scale=100, digits=1, better=1),
    _Line(label="`cn_accuracy`, %", key="cn_accuracy", scale=100, digits=1, better=1),
    _Line(label="`bond_error`, Å", key="bond_error"),
    _Line(label="`bond_mae`, Å", key="bond_mae"),
    _Line(label="`angle_mae`, °", key="angle_mae", digits=1),
    _Line(label="samples with the right CN, %", key="right_share", scale=100, digits=1, better=1),
    _Line(label="`bridge_error` of O, °", key="bridge_error", absorber="O", digits=1),
    _Line(label="`bridge_error` of Si, Å", key="bridge_error", absorber="Si"),
    _Line(label="`rdf_overlap`", key="rdf_overlap", better=1),
    _Line(label="`shell_rmsd`, Å", key="shell_rmsd"),
    _Line(label="`bond_energy`, Å", key="bond_energy"),
    _Line(label="`angle_energy`, °", key="angle_energy", digits=1),
    _Line(label="`cn_coverage`, %", key="cn_coverage", scale=100, digits=1, better=0),
    _Line(label="`cn_set_size`", key="cn_set_size", digits=2, better=0),
    _Line(label="`cn_mean_coverage`, %", key="cn_mean_coverage", scale=100, digits=1, better=0),
    _Line(label="width of the interval of the mean CN", key="cn_mean_width", digits=2, better=0),
    _Line(label="`bond_coverage`, %", key="bond_coverage", scale=100, digits=1, better=0),
    _Line(label="width of the bond interval, Å", key="bond_width", better=0),
    _Line(
        label="answers with one CN in the set, %", key="sure_share", scale=100, digits=1, better=0
    ),
    _Line(label="of these `cn_accuracy`, %", key="sure_cn_accuracy", scale=100, digits=1, better=0),
    _Line(label="of these `bond_error`, Å", key="sure_bond_error", better=0),
)


def _value(line: _Line, of_split: dict[str, dict[str, Any]]) -> float | None:
    found: float | None = of_split.get(line.absorber, {}).get(line.key)
    return found


def _cell(line: _Line, value: float | None, others: Sequence[float | None]) -> str:
    """Format a value, bold where no other method of the split does better."""
    if value is None:
        return "–"
    text = f"{value * line.scale:.{line.digits}f}"
    known = [other for other in others if other is not None]
    best = line.better and len(known) > 1 and all(line.better * (value - o) >= 0 for o in known)
    return f"**{text}**" if best else text


def _row_of(methods: Sequence[str]) -> str:
    return "| " + " | ".join(methods) + " |"


def _condition_table(condition: str, methods: dict[str, dict[str, dict[str, Any]]]) -> str:
    splits = list(dict.fromkeys(split for of_method in methods.values() for split in of_method))
    columns = [
        (split, method) for split in splits for method in methods if split in methods[method]
    ]
    lines = [
        f"### {condition}",
        "",
        _row_of(["figure", *[f"{split}: {method}" for split, method in columns]]),
        _row_of(["---", *["---:"] * len(columns)]),
    ]
    for line in _LINES:
        values = {c: _value(line, methods[c[1]][c[0]]) for c in columns}
        if all(value is None for value in values.values()):
            continue
        cells = [
            _cell(line, values[c], [v for other, v in values.items() if other[0] == c[0]])
            for c in columns
        ]
        lines.append(_row_of([line.label, *cells]))
    return "\n".join(lines)


def _plain(value: Any) -> Any:
    """Return the contrasts as plain values, however deep they lie."""
    if isinstance(value, dict):
        return {key: _plain(below) for key, below in value.items()}
    return None if value is None else asdict(value)


def _gain(line: _Line, found: Contrast | None) -> str:
    """Format a gain and its error: bold where it is sure, italic where a loss is."""
    if found is None:
        return "–"
    gain, error = line.scale * found.gain, line.scale * found.error
    text = f"{gain:+.{line.digits}f} ± {error:.{line.digits}f}"
    return {1: f"**{text}**", 0: text, -1: f"*{text}*"}[found.verdict]


def _contrast_table(report: Report) -> Iterator[str]:
    """Give a table of what the model gains on its baselines, if there are any."""
    contrasts = report.contrasts()
    if not contrasts or not report.choose():
        return
    compared = [line for line in _LINES if line.key in COMPARED]
    lines = [
        "### Gain on the baselines",
        "",
        "Mean over the spectra of how much better the model is than a baseline, and its standard",
        "error. Bold: better by more than two standard errors; italic: worse by as much.",
        "",
        _row_of(["condition", "split", "baseline", *[line.label for line in compared]]),
        _row_of(["---", "---", "---", *["---:"] * len(compared)]),
    ]
    for condition, splits in contrasts.items():
        for split, methods in splits.items():
            for method, found in methods.items():
                cells = [_gain(line, found[line.key]) for line in compared]
                lines.append(_row_of([condition, split, method, *cells]))
    yield "\n".join(lines)


def _confusions(figures: dict[str, dict[str, dict[str, dict[str, Any]]]]) -> str:
    """List the true coordination numbers and what the model made of them."""
    lines = [
        "### Coordination numbers",
        "",
        _row_of(["condition", "split", "absorber", "true CN", "rows", "`cn_error`, %", "answers"]),
        _row_of(["---", "---", "---", "---:", "---:", "---:", "---"]),
    ]
    for condition, methods in figures.items():
        for split, of_split in methods.get(MODEL, {}).items():
            for absorber, found in of_split.items():
                if absorber != "all":
                    lines += _class_rows([condition, split, absorber], found)
    return "\n".join(lines)


def _class_rows(start: list[str], found: dict[str, Any]) -> Iterator[str]:
    for cn, of_class in found["classes"].items():
        answers = found["confusion"].get(cn, {})
        said = ", ".join(f"{count} × {answer}" for answer, count in answers.items())
        error = 100 * of_class["cn_error"]
        yield _row_of([*start, cn, str(of_class["rows"]), f"{error:.1f}", said])


def _alone(report: Report) -> str:
    lines = ["### Foreign spectra, noise, rejections, cost", ""]
    for condition, found in report.ood().items():
        lines.append(
            f"- `ood_auc`, {condition}: {_text(found['ood_auc'], 3)} against "
            f"{found['foreign']:.0f} foreign spectra; flagged: "
            f"{_percent(found['flagged_foreign'])} of these, "
            f"{_percent(found['flagged_inside'])} of our own"
        )
    for level in report.noise:
        found = summarise(level.scores)
        lines.append(
            f"- {level.counts:.0e} counts at the step: `cn_error` {_percent(found['cn_error'])}, "
            f"`bond_error` {_text(found['bond_error'], 4)} Å, "
            f"`angle_mae` {_text(found['angle_mae'], 1)}°"
        )
    for condition, splits in report.rejected.items():
        for split, reasons in splits.items():
            said = ", ".join(f"{count} × {reason}" for reason, count in reasons.items())
            lines.append(f"- rejected, {condition}, {split}: {said}")
    lines.append(f"- CPU seconds per answer: {_text(report.cpu_s(), 2)}")
    return "\n".join(lines)


def _text(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
