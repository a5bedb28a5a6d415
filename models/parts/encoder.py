"""From a spectrum to what is expected of its cluster: an ensemble of small networks.

Each member leaves out other structure families in training, so that for every family some members
never saw it: their predictions there are honest, and the denoiser learns from those how far an
expectation can be trusted.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from nearedge.models.clusters.descriptors import EXPECTED_CN_CLASSES, Expectation
from nearedge.models.parts.channels import CHANNELS, channels

#: Brings the sum over the grid to the size of the other channels.
AREA_SCALE = 0.3
#: Share of the coordination labels that training spreads over all classes.
SMOOTHING = 0.03
#: Range of ln(standard deviation), in units of the descriptors' own spread.
LOG_SPREAD = (-4.5, 1.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSize:
    """Sizes of one member.

    Attributes
    ----------
    grid, edges, descriptors
        Points of the condition, (absorber, edge) pairs, numbers that describe a cluster.
    width
        The width of the hidden layers.
    dropout
        Share of hidden numbers dropped in training.
    filters
        Channels of the convolutions that read the spectrum first; 0: none.
    """

    grid: int
    edges: int
    descriptors: int
    width: int = 128
    dropout: float = 0.15
    filters: int = 0


def _look(filters: int) -> nn.Module:
    """Turn channels (batch, `CHANNELS`, grid) into features (batch, n)."""
    if not filters:
        return nn.Flatten()
    wide, narrow = filters * 4 // 3, filters * 2 // 3
    return nn.Sequential(
        nn.Conv1d(CHANNELS, filters, 7, padding=3),
        nn.SiLU(),
        nn.Conv1d(filters, wide, 5, stride=2, padding=2),
        nn.SiLU(),
        nn.Conv1d(wide, narrow, 5, stride=2, padding=2),
        nn.SiLU(),
        nn.Flatten(),
    )


def _looked(size: EncoderSize) -> int:
    """Count the features of `_look`."""
    halved = (size.grid + 1) // 2
    return size.filters * 2 // 3 * ((halved + 1) // 2) if size.filters else CHANNELS * size.grid


class Encoder(nn.Module):
    """One member: a spectrum and its mask to descriptors, their spread, CN and an embedding."""

    def __init__(self, size: EncoderSize) -> None:
        super().__init__()
        self.size = size
        n = size.width
        self.look = _look(size.filters)
        self.read = nn.Linear(_looked(size) + size.edges, n)
        self.drop = nn.Dropout(size.dropout)
        self.hidden = nn.Linear(n, n)
        self.answer = nn.Linear(n, 2 * size.descriptors + EXPECTED_CN_CLASSES)
        self.register_buffer("centre", torch.zeros(size.edges, size.grid))
        self.register_buffer("scale", torch.ones(size.edges, size.grid))

    def embed(self, values: Tensor, mask: Tensor, edge: Tensor) -> Tensor:
        """Return the embedding (batch, width) that all answers are read from.

        Parameters
        ----------
        values, mask
            (batch, grid) as in `nearedge.models.parts.condition.Condition`.
        edge
            (batch,) index of the (absorber, edge) pair.
        """
        centre, scale = self.get_buffer("centre")[edge], self.get_buffer("scale")[edge]
        read = channels(values, mask, level=centre, unit=scale, area=AREA_SCALE)
        pair = functional.one_hot(edge, self.size.edges).to(values.dtype)
        seen = self.look(torch.stack(read, 1))
        h = functional.silu(self.read(torch.cat([seen, pair], 1)))
        out: Tensor = functional.silu(self.hidden(self.drop(h)))
        return out

    def forward(self, values: Tensor, mask: Tensor, edge: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return standardised descriptors and ln(spread) (batch, d), and CN logits (batch, 11)."""
        answer = self.answer(self.drop(self.embed(values, mask, edge)))
        d = self.size.descriptors
        return answer[:, :d], answer[:, d : 2 * d].clamp(*LOG_SPREAD), answer[:, 2 * d :]


class Ensemble(nn.Module):
    """Several members whose predictions are mixed.

    Parameters
    ----------
    size
        The size of each member.
    members
        How many.
    """

    def __init__(self, size: EncoderSize, *, members: int) -> None:
        super().__init__()
        self.size = size
        self.members = nn.ModuleList(Encoder(size) for _ in range(members))
        self.register_buffer("centre", torch.zeros(size.edges, size.descriptors))
        self.register_buffer("scale", torch.ones(size.edges, size.descriptors))

    def encoders(self) -> Iterator[Encoder]:
        """Return the members, one after the other."""
        for member in self.members:
            assert isinstance(member, Encoder)  # noqa: S101
            yield member

    def forward(
        self, values: Tensor, mask: Tensor, edge: Tensor, *, weights: Tensor | None = None
    ) -> Expectation:
        """Give what the mixture of the members expects of each cluster.

        Parameters
        ----------
        values, mask, edge
            As in `Encoder.embed`.
        weights
            (batch, members) that sum to 1; equal where None. Zero for the members that have seen
            a training family gives honest predictions of it.
        """
        answers = [member(values, mask, edge) for member in self.encoders()]
        means, logs, logits = (torch.stack(part, 1) for part in zip(*answers, strict=True))
        if weights is None:
            weights = torch.full(means.shape[:2], 1 / means.shape[1]).to(means)
        w = weights[..., None]
        mean = (w * means).sum(1)
        variance = (w * (torch.exp(2 * logs) + means**2)).sum(1) - mean**2
        cn = (w * logits.softmax(-1)).sum(1)
        scale = self.get_buffer("scale")[edge]
        return Expectation(
            mean=mean * scale + self.get_buffer("centre")[edge],
            spread=variance.clamp(min=1e-8).sqrt() * scale,
            cn=cn.clamp(min=1e-4).log(),
            edge=edge,
        )


def loss(
    answer: tuple[Tensor, Tensor, Tensor],
    target: tuple[Tensor, Tensor, Tensor],
    importance: Tensor,
    *,
    smoothing: float = SMOOTHING,
) -> Tensor:
    """Return the negative log-likelihood of descriptors and coordination number.

    The Gaussian term is weighted by the detached standard deviation (Seitzer et al., ICLR 2022,
    beta = 0.5), which keeps uncertain cases from being given up.

    Parameters
    ----------
    answer
        The answer of an `Encoder`.
    target
        Mean and variance (batch, d) of the standardised descriptors over the sites whose average
        each spectrum is, NaN where undefined, and the sites' shares (batch, 11) in the coordination
        classes. The likelihood is the mean over these sites.
    importance
        (d,) what each descriptor counts.
    smoothing
        The smoothing of the coordination labels.
    """
    mean, log, logits = answer
    wanted, variance, cn = target
    known = ~wanted.isnan()
    error = (mean - wanted.nan_to_num()) ** 2 + variance.nan_to_num()
    likelihood = (0.5 * error * torch.exp(-2 * log) + log) * torch.exp(log).detach()
    weights = known * importance
    gaussian = (likelihood * weights).sum() / weights.sum()
    return gaussian + 0.5 * functional.cross_entropy(logits, cn, label_smoothing=smoothing)


def unsmoothed(prob: Tensor) -> Tensor:
    """Take what label smoothing added out of probabilities (..., classes)."""
    own = (prob - SMOOTHING / prob.shape[-1]).clamp(min=0)
    return own / own.sum(-1, keepdim=True)
