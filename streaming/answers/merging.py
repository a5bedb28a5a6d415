"""A merge of answered spectra: which may be merged, its name, and what it is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nearedge.callbacks.agreement import UNLIKE
from nearedge.callbacks.measurement import Measurement, Run
from nearedge.callbacks.merging import Merge, merge
from nearedge.models import NormalisedSpectrum, Rejected
from nearedge.models.normalise.drift import most_drift
from nearedge.streaming.answers.answer import Answer
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.key import result_key

STREAM = "merged"
"""The stream of a merge, which no run has."""
FARTHEST = 50.0
"""eV: no axis drifts so far."""
MOST = 200
"""Spectra of one merge at most: their names are part of its metadata."""


class MergeError(ValueError):
    """Spectra that cannot be merged: what was found, what was expected, what to do."""


class UnlikeError(MergeError):
    """Spectra that do not agree: they can be merged all the same."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MergedAnswers:
    """A merge that is ready to be inverted and stored.

    Attributes
    ----------
    key
        The name of its result: the same for the same spectra, in whatever order.
    measurement
        Where it comes from. Its columns are ``energy``, each spectrum as it was merged
        (``merged``) and the standard error of the mean (``error``), both in units of the step.
    merge
        The mean, and the part of each spectrum in it.
    most_shift
        eV by which each spectrum could be moved at most.
    """

    key: str
    measurement: Measurement
    merge: Merge
    most_shift: float

    @property
    def spectrum(self) -> NormalisedSpectrum:
        """The mean."""
        return self.merge.spectrum


def merge_answers(
    answers: Sequence[Answer],
    *,
    model_digest: str,
    config_digest: str,
    most: float | None = None,
    anyway: bool = False,
) -> MergedAnswers:
    """Merge the spectra of answers.

    Parameters
    ----------
    answers
        Two or more, in any order.
    model_digest, config_digest
        The weights and settings that are to invert it.
    most
        As for `nearedge.callbacks.merging.merge`.
    anyway
        Whether to merge spectra that do not agree, too; the mean is flagged then.

    Raises
    ------
    MergeError
        If they are too few or too many, one of them twice, a merge or a quick answer, or of
        several edges.
    UnlikeError
        If they do not agree.
    """
    chosen = sorted(answers, key=lambda one: (one.time, one.key))  # a slow change shows in time
    _check(chosen)
    spectra = [one.spectrum for one in chosen]
    limit = most_drift(spectra[0].technique) if most is None else most
    if not 0 <= limit <= FARTHEST:
        raise MergeError(f"found {limit:g} eV as the largest shift; expected 0 to {FARTHEST:g} eV")
    found = merge(spectra, most=limit)
    if isinstance(found, Rejected):
        raise MergeError(found.detail)
    if not (found.alike or anyway):
        raise UnlikeError(_unlike(chosen, found))
    key = result_key(
        " ".join(sorted(one.key for one in chosen)),
        STREAM,
        f"within {limit:g} eV",
        model_digest=model_digest,
        config_digest=config_digest,
    )
    measurement = _measurement(key, chosen, found)
    return MergedAnswers(key=key, measurement=measurement, merge=found, most_shift=limit)


def told_of(answer: Answer) -> str:
    """Return which spectrum an answer is of, in words."""
    return name_of({"scan_id": answer.scan_id, "run_uid": answer.run_uid, "spectrum": answer.name})


def name_of(source: Mapping[str, Any]) -> str:
    """Return which spectrum a source of a merge is, in words."""
    scan, name = source["scan_id"], source["spectrum"]
    told = f"run {source['run_uid'][:8]}" if scan is None else f"scan {scan}"
    return told if name == "0" else f"{told} #{name}"


def sources_text(sources: Sequence[Mapping[str, Any]]) -> str:
    """Return what a merge is of, in words: ``scan 12, scan 13 and scan 14``."""
    *first, last = [name_of(one) for one in sources]
    return f"{', '.join(first)} and {last}" if first else last


def _check(answers: Sequence[Answer]) -> None:
    if not 2 <= len(answers) <= MOST:
        raise MergeError(
            f"found {len(answers)} spectra to merge; expected 2 to {MOST}: choose repeats of one "
            "spectrum"
        )
    places: dict[tuple[str, str, str], Answer] = {}
    for one in answers:
        if one.merged_from:
            raise MergeError(
                f"{one.key} is itself a merge, of {sources_text(one.merged_from)}: name those "
                "instead, so that each counts by its own noise"
            )
        if State.DEGRADED.value in one.flags:
            raise MergeError(
                f"{told_of(one)} has a quick answer so far: merge it when the full one is there"
            )
        before = places.setdefault((one.run_uid, one.stream, one.name), one)
        if before is not one:
            raise MergeError(
                f"{told_of(one)} is named twice, as {before.key} and {one.key}: name it once"
            )


def _unlike(answers: Sequence[Answer], found: Merge) -> str:
    odd, share = answers[found.oddest], found.shares[found.oddest]
    if share.alike:  # no single one: they change little by little
        return (
            f"the first half of the {len(answers)} spectra is unlike the second: they change "
            "little by little; merge fewer, or all of them all the same"
        )
    if share.difference < UNLIKE:
        return (
            f"{told_of(odd)} is {share.scale:.2f} times as high over its edge step as the others: "
            "is its white line damped by the sample itself, or its normalisation another? Leave "
            "it out, or merge all the same"
        )
    others = "the others" if len(answers) > 2 else told_of(answers[found.oddest - 1])
    return (
        f"{told_of(odd)} is no repeat of {others}: it differs by {share.difference:.1%} of the "
        f"edge step (chi² {share.chi2:.3g}) after a shift of {share.shift:+.2f} eV; leave it "
        "out, let it move further, or merge all the same"
    )


def _measurement(key: str, answers: Sequence[Answer], found: Merge) -> Measurement:
    newest = max(answers, key=lambda one: one.time)
    sample = _common([one.sample for one in answers])
    spectrum = found.spectrum
    return Measurement(
        run=Run(
            uid=f"merge-{key[:16]}",
            scan_id=None,
            time=newest.time,
            start={} if sample is None else {"sample_name": sample},
        ),
        stream=STREAM,
        spectrum="0",
        columns={"energy": spectrum.energy, "merged": found.aligned, "error": found.error},
        complete=spectrum.complete,
        final=True,
        time=newest.time,
        context=_context([one.context for one in answers]),
        units=dict(newest.units),
        merged_from=tuple(
            {
                "key": one.key,
                "run_uid": one.run_uid,
                "scan_id": one.scan_id,
                "stream": one.stream,
                "spectrum": one.name,
                **asdict(share),
            }
            for one, share in zip(answers, found.shares, strict=True)
        ),
    )


def _common(values: Sequence[Any]) -> Any:
    """Return what all have in common, else None."""
    return values[0] if all(value == values[0] for value in values) else None


def _context(contexts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all were measured at: what is equal, and the mean of what wandered."""
    found = {}
    for name, first in contexts[0].items():
        values = [one.get(name) for one in contexts]
        if first is None:  # what was no number when it was stored
            continue
        if all(value == first for value in values):
            found[name] = first
        elif all(isinstance(value, float) for value in values):
            found[name] = float(np.mean(np.array(values)))
    return found
