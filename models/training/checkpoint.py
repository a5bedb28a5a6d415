"""What of a training is done, in one file from which it can go on."""

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from nearedge.models.aside import written_aside

#: The form of the checkpoints that this code reads and writes.
FORM = 2


class CheckpointError(ValueError):
    """A checkpoint that a training cannot go on from."""


class Checkpoint:
    """Trained encoders, and the states of later trainings, in a file that is never half.

    Parameters
    ----------
    path
        The file.
    origin
        What the training is told and learns from, as plain values: the same origin gives the same
        weights.
    resume
        Go on from the file, if there is one; else its content is forgotten.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or another recipe or other data made it.
    """

    def __init__(self, path: Path, *, origin: dict[str, Any], resume: bool) -> None:
        self._path = path
        self._state: dict[str, Any] = {
            "form": FORM,
            "origin": origin,
            "members": [],
            "trainings": {},
        }
        if resume and path.exists():
            self._state = _read(path, origin)

    @property
    def members(self) -> Sequence[dict[str, Any]]:
        """States of the encoders that are trained, as `add_member` took them."""
        return tuple(self._state["members"])

    def training(self, stage: str) -> dict[str, Any] | None:
        """Return the state of a network's training, or None before its first report."""
        state: dict[str, Any] | None = self._state["trainings"].get(stage)
        return state

    def add_member(self, state: dict[str, Any]) -> None:
        """Keep one more trained encoder."""
        self._state["members"].append(state)
        self._write()

    def keep(self, stage: str, state: dict[str, Any]) -> None:
        """Keep how far a network's training has come."""
        self._state["trainings"][stage] = state
        self._write()

    def _write(self) -> None:
        with written_aside(self._path) as part:
            torch.save(self._state, part)


def _read(path: Path, origin: dict[str, Any]) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): train without resuming") from error
    if state.get("form") != FORM:
        raise CheckpointError(f"{path} is no checkpoint of form {FORM}: train without resuming")
    if found := list(_differences(state["origin"], origin)):
        raise CheckpointError(
            f"{path} is of another training: {'; '.join(found)}. Give the recipe and the data that "
            "it was made with, or train without resuming or into another folder"
        )
    return state


def _differences(there: Any, here: Any, name: str = "") -> Iterator[str]:
    """Say where two trees of plain values differ, by dotted names."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted({*there, *here}):
            yield from _differences(there.get(key), here.get(key), f"{name}.{key}".lstrip("."))
    elif there != here:
        yield f"{name} was {there}, is {here}"
