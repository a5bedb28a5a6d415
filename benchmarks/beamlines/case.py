"""One kind of run that a beamline may publish, and what must come of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from benchmarks.beamlines.beamline import Beamline

Outcome = Literal["complete", "rejected", "answered", "left out"]
"""What is expected; ``answered``: complete or rejected, as the noise has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A run that was sent.

    Attributes
    ----------
    uid
        Of the run.
    outcome
        What is to come of each of its spectra; a run without spectra is ``left out``.
    spectra
        How many they are.
    """

    uid: str
    outcome: Outcome = "complete"
    spectra: int = 1


Send = Callable[["Beamline"], list[Sent]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A kind of run.

    Attributes
    ----------
    title
        What it is, for the table.
    profile
        Whose service takes it: ``transmission``, ``fluorescence`` or ``fly``.
    early
        Whether it is sent before the service starts.
    send
        Sends it and returns what was sent.
    """

    title: str
    profile: str
    early: bool
    send: Send


CASES: list[Case] = []


def case(
    title: str, *, profile: str = "transmission", early: bool = False
) -> Callable[[Send], Send]:
    """Add a function that sends a kind of run to `CASES`."""

    def add(send: Send) -> Send:
        CASES.append(Case(title=title, profile=profile, early=early, send=send))
        return send

    return add
