"""The networks and tables of a file of weights, built as its card describes them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from nearedge.models.answering.card import Card
from nearedge.models.answering.reader import Reader
from nearedge.models.parts import diffusion
from nearedge.models.parts.diffusion import Diffusion, Noise
from nearedge.models.parts.encoder import EncoderSize, Ensemble
from nearedge.models.parts.grown import Grown
from nearedge.models.parts.outlier import Familiar
from nearedge.models.parts.placement import Placement, PlacementSize
from nearedge.models.parts.ridge import NEARNESS, Ridge, Ridges
from nearedge.models.parts.shares import Shares, SharesSize
from nearedge.models.parts.surrogate import Surrogate
from nearedge.models.spectrum import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The networks and tables of one file of weights; ``start`` is where drawing begins."""

    reader: Reader
    start: Grown
    diffusion: Diffusion
    familiar: Familiar
    surrogates: tuple[Surrogate, ...]
    shares: Shares | None = None


def load_parts(card: Card, device: torch.device) -> Parts:
    """Build the networks that a card describes and load their weights from its file."""
    return assemble(card, load_file(card.path), device)


def assemble(card: Card, tensors: dict[str, Tensor], device: torch.device) -> Parts:
    """Build the networks that a card describes from the tensors of a file of weights."""
    ensemble = Ensemble(EncoderSize(**card.encoder), members=card.members)
    denoiser = diffusion.build(
        species=len(card.species),
        edges=len(card.edges),
        atoms=card.atoms,
        noise=Noise(**card.diffusion),
        **card.network,
    )
    ensemble.load_state_dict(_below(tensors, "encoder."))
    denoiser.load_state_dict(_below(tensors, "diffusion."))
    return Parts(
        reader=Reader(
            ensemble=ensemble.eval(),
            ridges=tuple(_ridges(_below(tensors, f"ridge.{k}.")) for k in range(len(card.edges))),
        ),
        start=_start(card, tensors, device),
        diffusion=denoiser.to(device).eval(),
        familiar=Familiar(
            mean=tensors["outlier.mean"].numpy().astype(np.float64),
            covariance=tensors["outlier.covariance"].numpy().astype(np.float64),
        ),
        surrogates=tuple(
            Surrogate.solve(_below(tensors, f"surrogate.{k}.")) for k in range(len(card.edges))
        ),
        shares=_shares(card, tensors),
    )


def _shares(card: Card, tensors: dict[str, Tensor]) -> Shares | None:
    """Build what reads averages, where the weights have it."""
    if not card.shares:
        return None
    model = Shares(SharesSize(**card.shares))
    model.load_state_dict(_below(tensors, "shares."))
    return model.float().eval()


def _start(card: Card, tensors: dict[str, Tensor], device: torch.device) -> Grown:
    """Build what drawing starts from."""
    placement = Placement(PlacementSize(**card.start["size"]), elements=card.species)
    placement.load_state_dict(_below(tensors, "placement."))
    return Grown(
        placement=placement.float().to(device).eval(),
        absorbers=torch.tensor([card.species.index(absorber) for absorber, _ in card.edges]),
        nearest=torch.from_numpy(nearest_table(card)).float(),
        temperature=float(card.start["temperature"]),
        surplus=int(card.start["surplus"]),
    )


def _ridges(tensors: dict[str, Tensor]) -> Ridges:
    share = tensors["share"]
    if share.dim() == 2:  # weights of before shares followed how near a spectrum is
        share = share[:, None].expand(-1, len(NEARNESS), -1)
    bands = [Ridge(**_below(tensors, f"{number}.")) for number in range(len(share))]
    return Ridges(bands=bands, share=share)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def nearest_table(card: Card) -> Array:
    """Return the least distance that two species keep, (species, species) Å; 0 where unknown."""
    table: dict[str, Any] = card.calibration.get("nearest", {})
    return np.array(
        [
            [float(table.get("-".join(sorted((a, b))), 0.0)) for b in card.species]
            for a in card.species
        ]
    )
