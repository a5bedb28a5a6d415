"""Save stored results as files: what `nearedge export` does."""

from pathlib import Path

from nearedge.streaming.answers.answer import Answer
from nearedge.streaming.answers.forms import Export, export_of
from nearedge.streaming.answers.merging import sources_text
from nearedge.streaming.answers.trend import trend_csv
from nearedge.streaming.catalog.history import History
from nearedge.streaming.catalog.results import Results
from nearedge.streaming.commands.opening import opened_box
from nearedge.streaming.settings.profile import Profile

LATEST = "latest"


class NoSuchResultError(LookupError):
    """A key under which the catalog has no answer."""


def export_result(profile: Profile, key: str, out: Path, *, form: str | None = None) -> str:
    """Write one result to a file; return what was done, in words.

    Parameters
    ----------
    profile
        Names the catalog.
    key
        The key of the result, or ``latest``.
    out
        The file.
    form
        A name of `nearedge.streaming.answers.forms.EXPORTS`; None: told from the file's name.

    Raises
    ------
    FormatError
        If the form is not known.
    NoSuchResultError
        If there is no such result.
    """
    chosen = form_of(out) if form is None else export_of(form)
    with opened_box(profile) as box:
        answer = find(History(lambda: box), Results(box), key)
    out.write_bytes(chosen.content(answer))
    return f"{out}: {chosen.title}, of {_origin(answer)}"


def _origin(answer: Answer) -> str:
    if answer.merged_from:
        return f"the merge of {sources_text(answer.merged_from)}"
    return f"scan {answer.scan_id}, run {answer.run_uid}"


def export_trend(profile: Profile, out: Path) -> str:
    """Write the figures of all results as CSV; return what was done, in words."""
    with opened_box(profile) as box:
        summaries = History(lambda: box).summaries()
    out.write_text(trend_csv(summaries))
    return f"{out}: {len(summaries)} spectra"


def form_of(out: Path) -> Export:
    """Return the form that a file's name asks for: its ending, or ``POSCAR``."""
    return export_of(out.suffix or out.name)


def find(history: History, results: Results, key: str) -> Answer:
    """Return the answer of a key, or the latest.

    Raises
    ------
    NoSuchResultError
        If there is none.
    """
    if key == LATEST:
        latest = results.latest()
        key = "" if latest is None else latest.key
    answer = history.answer(key) if key else None
    if answer is None:
        raise NoSuchResultError(
            f"found no answer {key!r} in the catalog: give the key of a complete result, as the "
            "live page and Tiled show it, or 'latest'"
        )
    return answer
