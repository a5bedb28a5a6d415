"""The pixels of a block through normalisation and heads, inside a worker."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.prepare_many import prepare_many
from nearedge.models.answering.heads import Reads
from nearedge.models.answering.pixels import PixelAnswers, answer_pixels
from nearedge.models.many_spectra import Spectra


class HasGrid(Protocol):
    """What the cards of a model say."""

    @property
    def grid(self) -> Sequence[float]:
        """The grid that the model reads."""
        ...


class AnswersPixels(Reads, Protocol):
    """A loaded model whose heads can be asked."""

    cards: HasGrid

    def supports(self, absorber: str, edge: str) -> bool:
        """Tell whether it was trained on this edge."""
        ...


def answer_block(model: AnswersPixels, spectra: Spectra, instrument: str) -> PixelAnswers:
    """Answer the pixels of a block.

    Parameters
    ----------
    model
        Loaded.
    spectra
        The spectra, on one axis of energies.
    instrument
        How to normalise them, `nearedge.callbacks.instrument.Instrument` as JSON.

    Raises
    ------
    ValueError
        If the model doesn't support the edge.
    """
    told = Instrument.model_validate_json(instrument)
    prepare = partial(prepare_many, instrument=told, supports=model.supports)
    return answer_pixels(model, spectra, prepare=prepare, span=model.cards.grid)
