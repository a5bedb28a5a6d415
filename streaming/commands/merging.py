"""Merge stored spectra and invert the merge: what `nearedge merge` does."""

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from nearedge.models.answering.cards import Cards, read_cards
from nearedge.streaming.answers.answer import answer_of_result
from nearedge.streaming.answers.figures import as_columns
from nearedge.streaming.answers.merging import (
    MergedAnswers,
    MergeError,
    UnlikeError,
    merge_answers,
    name_of,
    sources_text,
)
from nearedge.streaming.answers.summary import stored_summary
from nearedge.streaming.catalog.results import RejectedResult, Result, Results
from nearedge.streaming.commands.answer_rows import line_of
from nearedge.streaming.commands.opening import connected, results_box, results_of, worker_of
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.key import seed_of
from nearedge.streaming.ledger.row import Row
from nearedge.streaming.service.writing import Put
from nearedge.streaming.settings.profile import Profile, WorkerSettings
from nearedge.streaming.workers.crew import Crew
from nearedge.streaming.workers.dask_worker import DaskWorker
from nearedge.streaming.workers.worker import Worker

SHOWN = 10
SCAN = re.compile(r"\d{1,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeOptions:
    """How to merge: as of `nearedge.streaming.answers.merging.merge_answers`."""

    most: float | None = None
    anyway: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MergedResult:
    """What became of a merge.

    Attributes
    ----------
    result
        As it is stored.
    new
        Whether it was inverted now; False where the catalog had it.
    """

    result: Result
    new: bool

    def lines(self) -> list[str]:
        """Return what was merged and found, for people."""
        metadata = self.result.metadata
        sources = metadata["merged_from"]
        told = stored_summary(self.result.key, metadata)
        row = {"id": f"merge of {sources_text(sources)}", **as_columns(told)}
        answer = line_of({**row, "status": told["status"], "flags": told["flags"]})
        stored = "stored as" if self.new else "was stored before as"
        return [*(_share_text(one) for one in sources), answer, f"{stored} {self.result.key}"]


def merge_in_catalog(profile: Profile, names: Sequence[str], options: MergeOptions) -> list[str]:
    """Merge stored spectra in the catalog of a profile; return what was done, in lines.

    Parameters and errors are those of `merge_stored`.
    """
    with connected(profile) as server:
        box = results_box(profile, server)
        try:
            put = results_of(profile, server).put
            return merge_stored(profile, names, Results(box), put=put, options=options).lines()
        except UnlikeError as e:
            raise MergeError(f"{e} (--most-shift, --anyway)") from e
        finally:
            box.context.http_client.close()


def merge_stored(
    profile: Profile,
    names: Sequence[str],
    results: Results,
    *,
    put: Put,
    options: MergeOptions,
) -> MergedResult:
    """Merge stored spectra, invert the merge and store it, unless it is there.

    Parameters
    ----------
    profile
        The model and its worker.
    names
        Of each spectrum the key of its result, or its scan id or the uid of its run, where that
        has but one.
    results
        Where the spectra are.
    put
        Writes the row of the merge.
    options
        How to merge.

    Raises
    ------
    MergeError
        If a spectrum is not there or has no answer, or if they cannot be merged.
    """
    card = read_cards(profile.worker.model)
    merged = merge_answers(
        [answer_of_result(_found(results, name)) for name in names],
        model_digest=card.digest,
        config_digest=profile.digest(),
        most=options.most,
        anyway=options.anyway,
    )
    spectrum = merged.spectrum
    if not card.supports(spectrum.absorber, spectrum.edge):
        raise MergeError(
            f"the model {profile.worker.model} knows no {spectrum.absorber} {spectrum.edge} edge: "
            "name another in worker.model"
        )
    stored = results.get(merged.key)
    if isinstance(stored, Result):
        return MergedResult(result=stored, new=False)
    put(_inverted(merged, profile))
    return MergedResult(result=results[merged.key], new=True)


def _inverted(merged: MergedAnswers, profile: Profile) -> Row:
    """Return the row that a service makes of a spectrum."""
    card = read_cards(profile.worker.model)
    with closing(_one_worker(profile.worker, card)) as worker:
        (inversion,) = worker.invert(
            [merged.spectrum], seeds=[seed_of(merged.key)], keys=[merged.key]
        )
    return Row(
        key=merged.key,
        status=State.COMPLETE,
        measurement=merged.measurement,
        outcome=merged.spectrum,
        inversion=inversion,
        error=None,
        stages={"invert": inversion.seconds},
    )


def _one_worker(settings: WorkerSettings, card: Cards) -> Worker | DaskWorker:
    """Return what inverts one spectrum: one process, whatever else a service would start."""
    one = settings.model_copy(update={"device": settings.devices[0]})
    worker = worker_of(one, card=card)
    return worker.members[0] if isinstance(worker, Crew) else worker


def _found(results: Results, name: str) -> Result:
    """Return the result that a name stands for: a scan id, a key or the uid of a run."""
    by_scan = SCAN.fullmatch(name) is not None
    if not by_scan and (stored := results.get(name)) is not None:
        return _answered(stored)
    found = list(results.search(scan_id=int(name)) if by_scan else results.search(raw_uid=name))
    newest: dict[tuple[str, ...], Result] = {}
    for one in found:  # the latest first: another model's answer is of the same spectrum
        raw = one.metadata["raw"]
        newest.setdefault((raw["uid"], raw["stream"], raw["spectrum"]), one)
    if len(newest) == 1:
        return next(iter(newest.values()))
    what = f"scan {name}" if by_scan else f"run {name!r}"
    if not newest:
        refused = None if by_scan else next(results.rejected(raw_uid=name), None)
        if refused is not None:
            return _answered(refused)
        raise MergeError(
            f"found no answer of {what} in the catalog: give scan ids, uids of runs or keys of "
            "results, as the live page and 'nearedge export trend' show them"
        )
    keys = ", ".join(one.key for one in list(newest.values())[:SHOWN])
    more = " …" if len(newest) > SHOWN else ""
    raise MergeError(
        f"{what} has {len(newest)} spectra; expected one: name them by the keys of their results, "
        f"{keys}{more}"
    )


def _answered(stored: Result | RejectedResult) -> Result:
    if isinstance(stored, Result):
        return stored
    raw, why = stored.metadata["raw"], stored.rejected
    name = name_of({"scan_id": raw["scan_id"], "run_uid": raw["uid"], "spectrum": raw["spectrum"]})
    raise MergeError(
        f"{name} has no answer: it was rejected as {why.reason} ({why.detail}); leave it out"
    )


def _share_text(source: Mapping[str, Any]) -> str:
    """Return one spectrum's part in a merge, in words."""
    moved = f"{source['shift']:+.2f} ± {source['shift_error']:.2f} eV" if source["shift"] else "0"
    unlike = "" if source["alike"] else f", unlike the others by {source['difference']:.1%}"
    scale = f", scale {source['scale']:.3f}"
    return (
        f"{name_of(source)}: weight {source['weight']:.3f}, shift {moved}, "
        f"noise {source['noise']:.4f}, chi² {source['chi2']:.2f}{scale}{unlike}"
    )
