"""Several models side by side, loaded: each spectrum goes to the one that `Cards.choose` says."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from nearedge.models.answering.card import Card
from nearedge.models.answering.cards import Cards, read_cards
from nearedge.models.answering.general import FORM, GeneralInverter
from nearedge.models.answering.heads import Heads
from nearedge.models.answering.inverter import Inverter
from nearedge.models.inversion import Inversion, Inverts, Quality
from nearedge.models.parts.many_conditions import Conditions
from nearedge.models.spectrum import NormalisedSpectrum


class LoadedModel(Inverts, Protocol):
    """One loaded model, whose heads can be asked alone."""

    def heads(
        self, read: Conditions, *, absorber: str, edge: str, elements: tuple[str, ...]
    ) -> Heads:
        """Return what the heads say of many spectra."""
        ...


class Several:
    """Models side by side.

    Parameters
    ----------
    cards, models
        The cards and the models, in the order in which they are asked.
    """

    def __init__(self, cards: Cards, models: Sequence[LoadedModel]) -> None:
        self.cards, self._models = cards, tuple(models)

    @classmethod
    def load(cls, models: str = "siox", *, device: str = "auto", threads: int = 0) -> "Several":
        """Load models joined by ``+``; parameters as of `Inverter.load`."""
        if threads:
            torch.set_num_threads(threads)
        cards = read_cards(models)
        return cls(cards, [load_model(card, device=device) for card in cards.cards])

    @property
    def digest(self) -> str:
        """The digest of all models together."""
        return self.cards.digest

    def supports(self, absorber: str, edge: str) -> bool:
        """Tell whether one of the models was trained on this edge of this element."""
        return self.cards.supports(absorber, edge)

    def heads(
        self, read: Conditions, *, absorber: str, edge: str, elements: tuple[str, ...] = ()
    ) -> Heads:
        """Give what the heads of the model that answers say; as of `Inverter.heads`."""
        model = self._models[self.cards.choose(absorber, edge, elements)]
        return model.heads(read, absorber=absorber, edge=edge, elements=elements)

    def invert(
        self,
        spectra: Sequence[NormalisedSpectrum],
        *,
        seeds: Sequence[int],
        samples: int = 16,
        quality: Quality = Quality.DEFAULT,
        progress: Callable[[int], None] = lambda done: None,
    ) -> list[Inversion]:
        """Draw clusters for each spectrum; each answer names the digest of its own model.

        Parameters as of `Inverter.invert`.

        Raises
        ------
        ValueError
            If no model supports an edge, or seeds and spectra differ in number.
        """
        if len(seeds) != len(spectra):
            raise ValueError(f"found {len(seeds)} seeds for {len(spectra)} spectra; one each")
        chosen = [self.cards.choose(s.absorber, s.edge, s.elements) for s in spectra]
        answers: dict[int, Inversion] = {}
        for number, model in enumerate(self._models):
            own = [k for k, which in enumerate(chosen) if which == number]
            if own:
                found = model.invert(
                    [spectra[k] for k in own],
                    seeds=[seeds[k] for k in own],
                    samples=samples,
                    quality=quality,
                )
                answers |= dict(zip(own, found, strict=True))
                progress(len(answers))
        return [answers[k] for k in range(len(spectra))]


def load_model(card: Card, *, device: str = "auto") -> LoadedModel:
    """Load the weights of one card, whatever their kind."""
    if card.encoder.get("form") == FORM:
        return GeneralInverter.load(card)
    return Inverter.load(str(card.path), device=device)
