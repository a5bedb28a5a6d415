"""Results of before, out of the catalog, for a page that has just been started."""

import logging
import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from tiled.queries import In

from nearedge.models import NormalisedSpectrum
from nearedge.streaming.answers.answer import Answer, answer_of_result
from nearedge.streaming.answers.summary import Json, stored_summary
from nearedge.streaming.catalog.connection import Client
from nearedge.streaming.catalog.results import RejectedResult, Result
from nearedge.streaming.ledger.job import State

logger = logging.getLogger(__name__)

LOADED = 5_000
KEY = re.compile(r"[\w.-]{1,200}")
"""What may be the key of a result: it is part of an address."""


class History:
    """Reads the container of results; it may be away, then there is no history.

    Parameters
    ----------
    connect
        Opens the container; called when it is first needed, and again after a failure.
    """

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect
        self._container: Client | None = None
        self._lock = threading.Lock()

    def summaries(self, *, limit: int = LOADED) -> list[Json]:
        """Return the newest summaries, oldest first.

        Raises
        ------
        httpx.HTTPError
            If the catalog is away.
        """
        found: list[Json] = []
        for key, node in self._finished().sort(("measured", -1)).items():
            found.append(stored_summary(key, node.metadata))
            if len(found) >= limit:
                break
        return found[::-1]

    def summary(self, key: str) -> Json | None:
        """Return what lists show of one entry, or None when there is none of that key."""
        node = self._node(key)
        return None if node is None else stored_summary(key, node.metadata)

    def answer(self, key: str) -> Answer | None:
        """Return a stored answer with its arrays, or None when there is none of that key."""
        found = self._result(key)
        return None if found is None else answer_of_result(found)

    def spectrum(self, key: str) -> NormalisedSpectrum | None:
        """Return the spectrum of a stored answer, or None when there is none of that key."""
        found = self._result(key)
        return None if found is None else found.spectrum

    def columns(self, key: str) -> dict[str, np.ndarray] | None:
        """Return the measured columns of a rejected measurement, or None."""
        node = self._node(key)
        if node is None or node.metadata["status"] != State.REJECTED:
            return None
        return RejectedResult(node).raw

    def _finished(self) -> Any:
        return self._open().search(In("status", [State.COMPLETE, State.REJECTED]))

    def _result(self, key: str) -> Result | None:
        node = self._node(key)
        if node is None or node.metadata["status"] != State.COMPLETE:
            return None
        return Result(node)

    def _node(self, key: str) -> Any:
        if not KEY.fullmatch(key):  # the server need not be asked, nor does it take every character
            return None
        try:
            return self._open()[key]
        except KeyError:
            return None

    def _open(self) -> Client:
        with self._lock:
            if self._container is None:
                self._container = self._connect()
            return self._container
