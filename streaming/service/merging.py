"""Merge spectra on request, and have a running service invert and store the merge."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from nearedge.callbacks.measurement import Measurement
from nearedge.callbacks.prepare import Supports, unsupported
from nearedge.models import NormalisedSpectrum
from nearedge.streaming.answers.answer import Answer
from nearedge.streaming.answers.merging import MergedAnswers, MergeError, merge_answers


class Submitting(Protocol):
    """What takes spectra, as `nearedge.streaming.service.service.Service` does."""

    def submit(self, key: str, measurement: Measurement, spectrum: NormalisedSpectrum) -> bool:
        """Have a spectrum inverted and stored; return False when it is known."""


class Merger:
    """Merges answered spectra; what comes of it is a result like any other.

    Parameters
    ----------
    service
        Inverts and stores.
    model, config
        Digests of its weights and settings.
    supports
        Whether its model knows an absorber and edge.
    """

    def __init__(self, service: Submitting, *, model: str, config: str, supports: Supports) -> None:
        self._service, self._supports = service, supports
        self._merge: Callable[..., MergedAnswers] = partial(
            merge_answers, model_digest=model, config_digest=config
        )

    def merge(
        self, answers: Sequence[Answer], *, most: float | None = None, anyway: bool = False
    ) -> tuple[MergedAnswers, bool]:
        """Queue the merge of some answers; return it, and whether it is new to the service.

        Parameters are those of `nearedge.streaming.answers.merging.merge_answers`.

        Raises
        ------
        MergeError
            If they cannot be merged.
        """
        merged = self._merge(answers, most=most, anyway=anyway)
        spectrum = merged.spectrum
        if not self._supports(spectrum.absorber, spectrum.edge):
            raise MergeError(unsupported(spectrum.absorber, spectrum.edge).detail)
        return merged, self._service.submit(merged.key, merged.measurement, spectrum)
