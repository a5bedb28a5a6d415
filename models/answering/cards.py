"""The cards of several models side by side, read without loading torch.

``siox+any`` names a specialist and a model of all edges. The first that knows an edge, and all that
the sample is known to hold, answers.
"""

import hashlib
from dataclasses import dataclass

from nearedge.models.answering.card import Card, read_card


@dataclass(frozen=True, slots=True)
class Cards:
    """Cards in the order in which their models are asked."""

    cards: tuple[Card, ...]

    @property
    def digest(self) -> str:
        """The digest of the one card, or of the digests of all."""
        digests = [card.digest for card in self.cards]
        joined = "+".join(digests)
        return digests[0] if len(digests) == 1 else hashlib.sha256(joined.encode()).hexdigest()

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """All (absorber, edge) pairs, each once."""
        return tuple(dict.fromkeys(pair for card in self.cards for pair in card.edges))

    @property
    def grid(self) -> tuple[float, float, float]:
        """The grid that all models read."""
        return self.cards[0].grid

    def supports(self, absorber: str, edge: str) -> bool:
        """Tell whether one of the models was trained on this edge of this element."""
        return any(card.supports(absorber, edge) for card in self.cards)

    def choose(self, absorber: str, edge: str, elements: tuple[str, ...]) -> int:
        """Return the number of the model that answers.

        Raises
        ------
        ValueError
            If none knows the edge.
        """
        able = [k for k, card in enumerate(self.cards) if card.supports(absorber, edge)]
        if not able:
            known = ", ".join(" ".join(pair) for pair in self.edges)
            raise ValueError(
                f"the models know {known}, not {absorber} {edge}: choose other weights "
                "(worker.model) or train some with `nearedge train`"
            )
        wanted = set(elements) - {"H"}
        full = [k for k in able if wanted <= {*self.cards[k].species, absorber}]
        return (full or able)[0]


def read_cards(models: str) -> Cards:
    """Read the cards of models joined by ``+``; as `read_card` for one.

    Raises
    ------
    nearedge.models.answering.card.CardError
        If weights or card of one are missing or don't belong together.
    """
    return Cards(tuple(read_card(name) for name in models.split("+")))
