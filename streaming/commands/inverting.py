"""One-off spectra: normalise, invert in this process, and write a file or folder."""

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.prepare import Supports, prepare
from nearedge.models import Inversion, NormalisedSpectrum, Quality, Rejected
from nearedge.streaming.answers.clusters import extended_xyz, flags_note
from nearedge.streaming.answers.figures import as_columns, plain_figures
from nearedge.streaming.ledger.key import seed_of
from nearedge.streaming.sources.files import FileSpectrum
from nearedge.streaming.workers.worker import Inverts

BATCH = 8

Answer: TypeAlias = Inversion | Rejected


class OutputError(ValueError):
    """An output whose form is not known, or that cannot be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvertOptions:
    """How much work each answer is worth, and the seed of the whole call."""

    samples: int
    quality: Quality
    seed: int = 0


def invert(
    asked: Sequence[FileSpectrum],
    instrument: Instrument,
    *,
    inverter: Inverts,
    supports: Supports,
    effort: InvertOptions,
) -> Iterator[tuple[FileSpectrum, Answer]]:
    """Yield the answer to each spectrum, in order.

    A spectrum's own seed comes from the seed of the call and its id, so that its answer does not
    depend on what else was asked.

    Parameters
    ----------
    asked, instrument
        The spectra, and how to normalise them.
    inverter, supports
        The model, and whether it knows an absorber and edge.
    effort
        Clusters per spectrum, quality and seed.
    """
    for begin in range(0, len(asked), BATCH):
        some = asked[begin : begin + BATCH]
        outcomes = [_prepare(one, instrument, supports=supports) for one in some]
        answers = iter(_answers(some, outcomes, inverter=inverter, effort=effort))
        for one, outcome in zip(some, outcomes, strict=True):
            yield one, outcome if isinstance(outcome, Rejected) else next(answers)


def _prepare(
    one: FileSpectrum, instrument: Instrument, *, supports: Supports
) -> NormalisedSpectrum | Rejected:
    if isinstance(one.spectrum, Rejected):
        return one.spectrum
    return prepare(one.spectrum, instrument, supports=supports)


def _answers(
    asked: Sequence[FileSpectrum],
    outcomes: Sequence[NormalisedSpectrum | Rejected],
    *,
    inverter: Inverts,
    effort: InvertOptions,
) -> list[Inversion]:
    """Return the answers to those that were not rejected."""
    good = [
        (one.id, outcome)
        for one, outcome in zip(asked, outcomes, strict=True)
        if not isinstance(outcome, Rejected)
    ]
    return inverter.invert(
        [outcome for _, outcome in good],
        seeds=[seed_for(name, seed=effort.seed) for name, _ in good],
        samples=effort.samples,
        quality=effort.quality,
    )


def tally(answers: Sequence[tuple[FileSpectrum, Answer]]) -> str:
    """Return how many spectra were inverted and rejected, in words."""
    rejected = sum(isinstance(answer, Rejected) for _, answer in answers)
    return f"{len(answers) - rejected} inverted, {rejected} rejected"


def inverted(answers: Sequence[tuple[FileSpectrum, Answer]]) -> list[tuple[str, Inversion]]:
    """Return ids and answers of the spectra that were not rejected."""
    return [(one.id, answer) for one, answer in answers if not isinstance(answer, Rejected)]


def seed_for(name: str, *, seed: int) -> int:
    """Return the seed of the spectrum of that name."""
    return seed_of(sha256(f"{seed}:{name}".encode()).hexdigest())


def row_of(one: FileSpectrum, answer: Answer) -> dict[str, Any]:
    """Return the output row of one spectrum: the columns of `COLUMNS`."""
    if isinstance(answer, Rejected):
        empty = dict.fromkeys(COLUMNS)
        reason = f"{answer.reason}: {answer.detail}"
        return empty | {"id": one.id, "status": "rejected", "reason": reason}
    told = {
        **as_columns(plain_figures(answer)),
        "id": one.id,
        "status": "complete",
        "reason": None,
        "cn_prob": answer.estimates.cn_prob.tolist(),
        "species": answer.samples.species.tolist(),
        "positions": answer.samples.positions.tolist(),
        "flags": list(answer.flags),
        "model": answer.model,
        "seconds": answer.seconds,
    }
    return {name: told[name] for name in COLUMNS}


COLUMNS = {
    **{"id": "string", "status": "string", "reason": "string"},
    **{"cn_mean": "double", "cn_map": "int64", "cn_prob": "list<double>", "cn_set": "list<int64>"},
    **{"bond_mean": "double", "bond_lo": "double", "bond_hi": "double"},
    **{"species": "list<list<string>>", "positions": "list<list<list<float>>>"},
    **{"ood_score": "double", "ood_flag": "bool", "flags": "list<string>"},
    **{"model": "string", "seconds": "double"},
}


def writer_for(out: Path) -> Callable[[Path, Sequence[tuple[FileSpectrum, Answer]]], None]:
    """Return what writes answers to ``out``: Parquet, JSON, or a folder of extended XYZ.

    Raises
    ------
    OutputError
        If its ending is none of ``.parquet``, ``.json`` or no ending at all.
    """
    if out.suffix == "" or out.is_dir():
        return write_folder
    writers = {".parquet": write_parquet, ".json": write_json}
    if out.suffix not in writers:
        raise OutputError(
            f"the output {out} ends in {out.suffix!r}: expected .parquet, .json, or a folder "
            "for extended XYZ (a name without an ending)"
        )
    return writers[out.suffix]


def write_parquet(out: Path, answers: Sequence[tuple[FileSpectrum, Answer]]) -> None:
    """Write one row per spectrum, with the columns of `COLUMNS`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, _arrow_type(text)) for name, text in COLUMNS.items()])
    table = pa.Table.from_pylist([row_of(*each) for each in answers], schema=schema)
    pq.write_table(table, out)


def write_json(out: Path, answers: Sequence[tuple[FileSpectrum, Answer]]) -> None:
    """Write a list of rows, with the columns of `COLUMNS`."""
    rows = [_finite(row_of(*each)) for each in answers]
    out.write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n")


def write_folder(out: Path, answers: Sequence[tuple[FileSpectrum, Answer]]) -> None:
    """Write one extended XYZ file per answer, a frame per sample, and ``summary.json``."""
    out.mkdir(parents=True, exist_ok=True)
    summary = []
    for number, (one, answer) in enumerate(answers):
        row = row_of(one, answer)
        name = None if isinstance(answer, Rejected) else f"{number:04d}-{_as_name(one.id)}.xyz"
        if name is not None and not isinstance(answer, Rejected):
            info = {"id": one.id} | flags_note(answer.flags)
            text = extended_xyz(answer.samples, absorber=answer.absorber, info=info)
            (out / name).write_text(text)
        figures = {k: v for k, v in row.items() if k not in ("species", "positions")}
        summary.append(_finite(figures | {"file": name}))
    (out / "summary.json").write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n")


def _arrow_type(text: str) -> Any:
    import pyarrow as pa

    if text.startswith("list<"):
        return pa.list_(_arrow_type(text[5:-1]))
    return {"bool": pa.bool_(), "float": pa.float32(), "double": pa.float64()}.get(
        text
    ) or pa.type_for_alias(text)


def _finite(item: Any) -> Any:
    """Return the same with null for what JSON has no number for."""
    if isinstance(item, dict):
        return {key: _finite(value) for key, value in item.items()}
    if isinstance(item, list):
        return [_finite(value) for value in item]
    return None if isinstance(item, float) and not math.isfinite(item) else item


def _as_name(text: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", text)[:80]
