"""What became of a spectrum, as a row of a table and as a line for people."""

import json
import math
import re
from typing import Any

from nearedge.models import Reason, Rejected
from nearedge.streaming.answers.clusters import extended_xyz, flags_note
from nearedge.streaming.answers.figures import (
    BOND,
    CN,
    FIGURES,
    INTERVALS,
    as_columns,
    plain_figures,
)
from nearedge.streaming.commands.inverting import Outcome
from nearedge.streaming.commands.table import flags_text
from nearedge.streaming.ledger.job import State

COLUMNS = {
    **{"id": "string", "file": "string", "status": "string", "reason": "string"},
    **{"cn_mean": "double", "cn_mean_lo": "double", "cn_mean_hi": "double"},
    **{"cn_map": "int64", "cn_prob": "list<double>", "cn_set": "list<int64>"},
    **{name: "double" for one in FIGURES if one.name in INTERVALS for name in one.columns},
    **{"species": "list<list<string>>", "positions": "list<list<list<float>>>"},
    **{"weights": "list<double>", "misfit": "double", "usual_misfit": "list<double>"},
    **{"ood_score": "double", "ood_flag": "bool", "flags": "list<string>"},
    **{"absorber": "string", "edge": "string", "signal": "string"},
    **{"e0": "double", "edge_step": "double", "energy_shift": "double"},
    **{"model": "string", "seed": "int64", "quality": "string", "seconds": "double"},
}
"""The columns of the output and their types, as docs/reference-cli.md explains them."""


def row_of(outcome: Outcome) -> dict[str, Any]:
    """Return the output row of one spectrum: the columns of `COLUMNS`."""
    one, spectrum, answer = outcome.asked, outcome.spectrum, outcome.answer
    row = dict.fromkeys(COLUMNS) | {"id": one.id, "file": one.file, "signal": one.signal}
    if isinstance(answer, Rejected) or spectrum is None:
        return row | {"status": str(State.REJECTED), "reason": _reason(answer)}
    told = {
        **as_columns(plain_figures(answer)),
        "status": str(State.COMPLETE),
        "cn_prob": answer.estimates.cn_prob.tolist(),
        "species": answer.samples.species.tolist(),
        "positions": answer.samples.positions.tolist(),
        "weights": answer.samples.weights.tolist(),
        "usual_misfit": answer.usual_misfit and list(answer.usual_misfit),
        "flags": list(answer.flags),
        "absorber": answer.absorber,
        "edge": answer.edge,
        "e0": spectrum.e0,
        "edge_step": spectrum.edge_step,
        "energy_shift": spectrum.energy_shift,
        "model": answer.model,
        "seed": answer.seed,
        "quality": str(answer.quality),
        "seconds": answer.seconds,
    }
    return row | {name: value for name, value in told.items() if name in COLUMNS}


def _reason(answer: Any) -> str | None:
    return f"{answer.reason}: {answer.detail}" if isinstance(answer, Rejected) else None


def is_rejected(row: dict[str, Any]) -> bool:
    """Tell whether a row has no answer."""
    return bool(row["status"] == State.REJECTED)


def is_lost(row: dict[str, Any]) -> bool:
    """Tell whether a spectrum was meant to be inverted and has no answer."""
    return is_rejected(row) and not row["reason"].startswith(Reason.NOT_A_SAMPLE)


def line_of(row: dict[str, Any]) -> str:
    """Return a row in one line: coordination number, bond and flags, or the reason."""
    if is_rejected(row):
        return f"{row['id']}: rejected, {row['reason']}"
    figures = []
    for figure in (CN, BOND):
        plain = {part: row[f"{figure.name}_{part}"] for part in figure.parts}
        if plain["mean"] is not None:
            shown = (figure.text(plain), figure.unit, figure.interval_text(plain))
            words = [figure.symbol, *shown, figure.bounds_text(plain) if figure is CN else ""]
            figures.append(" ".join(filter(None, words)))
    return "; ".join(filter(None, [f"{row['id']}: {', '.join(figures)}", flags_text(row["flags"])]))


def as_json(row: dict[str, Any]) -> str:
    """Return a row as JSON, with null for what JSON has no number for."""
    return json.dumps(_finite(row), allow_nan=False)


def _finite(item: Any) -> Any:
    if isinstance(item, dict):
        return {key: _finite(value) for key, value in item.items()}
    if isinstance(item, list):
        return [_finite(value) for value in item]
    return None if isinstance(item, float) and not math.isfinite(item) else item


def xyz_of(outcome: Outcome) -> str | None:
    """Return the clusters of an answer as extended XYZ, a frame per sample; None without any."""
    answer = outcome.answer
    if isinstance(answer, Rejected):
        return None
    info = {"id": outcome.asked.id} | flags_note(answer.flags)
    return extended_xyz(answer.samples, absorber=answer.absorber, info=info)


def file_name(number: int, name: str) -> str:
    """Return the name of the file of one answer in an output folder."""
    plain = re.sub(r"[^\w.+-]+", "_", name)[:80]
    return f"{number:04d}-{plain}.xyz"
