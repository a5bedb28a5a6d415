"""The model of all edges, loaded: spectra in, clusters and their estimates out."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from nearedge.models.answering.card import Card, CardError
from nearedge.models.answering.estimate import (
    OF_A_BOND,
    STATED_CN_CLASSES,
    TIE,
    Calibration,
    Head,
    Widening,
    estimate,
)
from nearedge.models.answering.flags import flags_of
from nearedge.models.answering.heads import Heads
from nearedge.models.clusters import geometry
from nearedge.models.inversion import Estimates, Inversion, Quality, Samples
from nearedge.models.parts.committee import Committee
from nearedge.models.parts.condition import Condition, condition, grid_of
from nearedge.models.parts.forest import Forest
from nearedge.models.parts.general import (
    GeneralSize,
    NetReading,
    elements,
    hint_of,
    number_of,
    telling,
)
from nearedge.models.parts.general_growth import GeneralGrowth
from nearedge.models.parts.listing import Listing, ListingSize
from nearedge.models.parts.many_conditions import Conditions
from nearedge.models.parts.outlier import Familiar
from nearedge.models.parts.placement import Placement, PlacementSize
from nearedge.models.parts.sought import Sought
from nearedge.models.spectrum import Array, NormalisedSpectrum

#: What the card's ``encoder`` says of weights of this kind.
FORM = "general"
#: Elements whose answers are calibrated together; ``other`` are all others.
_GROUPS = {
    "3d": frozenset("Sc Ti V Cr Mn Fe Co Ni Cu Zn".split()),
    "chalcogen": frozenset("S Se Te".split()),
    "oxygen": frozenset({"O"}),
    "other": frozenset(),
}
#: How many there are.
GROUPS = len(_GROUPS)


def group_of(absorber: str, *, named: bool) -> str:
    """Return the group that an answer is calibrated with.

    Parameters
    ----------
    absorber
        Its symbol.
    named
        Whether the composition is known: answers are less sure where it is not.

    Examples
    --------
    >>> group_of("Fe", named=False)
    '3d, unnamed'
    """
    name = list(_GROUPS)[place_of(absorber)]
    return name if named else f"{name}, unnamed"


def place_of(absorber: str) -> int:
    """Return the place of an absorber's group among the `GROUPS` whose spectra are alike."""
    found = (place for place, some in enumerate(_GROUPS.values()) if absorber in some)
    return next(found, GROUPS - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A reading of one spectrum as plain numbers.

    Attributes
    ----------
    cn, kind
        Probabilities.
    bond, cosine
        Mean and standard deviation, Å and cosine.
    radii
        (ranks, 2) distances of the nearest atoms beyond the mean bond and their standard
        deviations, Å.
    """

    cn: Array
    kind: Array
    bond: tuple[float, float]
    cosine: tuple[float, float]
    radii: Array


def said(reading: NetReading, k: int, *, absorber: str) -> Said:
    """Return what a reading says of the k-th spectrum of its batch."""
    radius = geometry.covalent_radii()[absorber]

    def pair(found: Tensor, shift: float) -> tuple[float, float]:
        return float(found[k, 0]) + shift, float(found[k, 1].exp())

    radii = reading.radii[k].double()
    beyond = torch.stack([radii[:, 0] - reading.bond[k, 0].double(), radii[:, 1].exp()], 1)
    return Said(
        cn=_stated(reading.cn[k].double().softmax(-1).numpy()),
        kind=reading.kind[k].double().softmax(-1).numpy(),
        bond=pair(reading.bond, radius),
        cosine=pair(reading.cosine, 0.0),
        radii=beyond.numpy(),
    )


def _stated(prob: Array) -> Array:
    out = prob[:STATED_CN_CLASSES].copy()
    out[-1] += prob[STATED_CN_CLASSES:].sum()
    return np.asarray(out / out.sum())


@torch.inference_mode()
def said_of(
    committee: Committee, spectrum: NormalisedSpectrum, read: Condition | None = None
) -> Said:
    """Return what the networks say of a spectrum, ``read`` on the grid if it already is."""
    read = read or condition(spectrum)
    reading = committee(
        torch.from_numpy(read.values.copy())[None],
        torch.from_numpy(read.mask.copy())[None],
        torch.tensor([number_of(spectrum.absorber)]),
        torch.tensor(hint_of(spectrum.elements), dtype=torch.float32)[None],
    )
    return said(reading, 0, absorber=spectrum.absorber)


class GeneralInverter:
    """The model of all edges.

    Parameters
    ----------
    card
        The card of the weights.
    committee, clusters, familiar
        The networks and trees, what draws clusters, and what spectra are familiar.

    Attributes
    ----------
    card
        What is known of the weights.
    committee, clusters
        The networks and trees that read spectra, and what draws clusters.
    """

    def __init__(
        self, card: Card, *, committee: Committee, clusters: GeneralGrowth, familiar: Familiar
    ) -> None:
        self.card = card
        self.committee, self.clusters, self._familiar = committee, clusters, familiar
        self._grid = grid_of(card.grid)
        self._calibrations = {
            name: Calibration.from_dict(numbers)
            for name, numbers in card.calibration["groups"].items()
        }

    @classmethod
    def load(cls, card: Card) -> "GeneralInverter":
        """Load the weights of a card.

        Raises
        ------
        nearedge.models.answering.card.CardError
            If they are of before clusters grew.
        """
        if lacking := {"listing", "placement"} - set(card.start):
            raise CardError(
                f"{card.path.name} has no networks that grow clusters, expected {sorted(lacking)}: "
                "take the weights that come with nearedge, or train them again"
            )
        tensors = load_file(card.path)
        size = GeneralSize(**{k: v for k, v in card.encoder.items() if k != "form"})
        trees = below(tensors, "forest.")
        forest = Forest.of(trees) if trees else None
        committee = Committee(size, members=card.members, forest=forest)
        committee.load_state_dict(below(tensors, "committee."), strict=False)
        return cls(
            card,
            committee=committee.eval(),
            clusters=growth_of(card.start, below(tensors, "growth.")),
            familiar=Familiar(
                mean=tensors["outlier.mean"].numpy().astype(np.float64),
                covariance=tensors["outlier.covariance"].numpy().astype(np.float64),
            ),
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the card, hex."""
        return self.card.digest

    def supports(self, absorber: str, edge: str) -> bool:
        """Tell whether the model was trained on this edge of this element."""
        return self.card.supports(absorber, edge)

    def invert(
        self,
        spectra: Sequence[NormalisedSpectrum],
        *,
        seeds: Sequence[int],
        samples: int = 16,
        quality: Quality = Quality.DEFAULT,
        progress: Callable[[int], None] = lambda done: None,
    ) -> list[Inversion]:
        """Draw clusters for each spectrum; parameters as of `Inverter.invert`.

        Raises
        ------
        ValueError
            If the model doesn't support an edge, or seeds and spectra differ in number.
        """
        if len(seeds) != len(spectra):
            raise ValueError(f"found {len(seeds)} seeds for {len(spectra)} spectra; one each")
        answers = []
        for spectrum, seed in zip(spectra, seeds, strict=True):
            answers.append(self._invert(spectrum, seed, samples=samples, quality=quality))
            progress(len(answers))
        return answers

    @torch.inference_mode()
    def heads(
        self, read: Conditions, *, absorber: str, edge: str, elements: tuple[str, ...] = ()
    ) -> Heads:
        """Give what the networks say of many spectra of one edge; as of `Inverter.heads`."""
        self._refuse_unknown(absorber, edge)
        count = len(read.values)
        hint = torch.tensor(hint_of(elements), dtype=torch.float32)
        found = self.committee(
            torch.from_numpy(read.values.copy()),
            torch.from_numpy(read.mask.copy()),
            torch.full((count,), number_of(absorber)),
            hint.expand(count, -1),
        )
        bond, cosine = found.bond.double().numpy(), found.cosine.double().numpy()
        return Heads(
            cn=found.cn.double().softmax(-1).numpy(),
            bond=bond[:, 0] + geometry.covalent_radii()[absorber],
            bond_spread=np.exp(bond[:, 1]),
            cosine=cosine[:, 0],
            cosine_spread=np.exp(cosine[:, 1]),
            distance=self._familiar.distances(read.values, read.mask, edge=self._place(absorber)),
            threshold=self._threshold(absorber),
            calibration=self._calibration(absorber, elements),
            model=self.digest,
            species=self.card.species,
        )

    def read(self, spectrum: NormalisedSpectrum, read: Condition) -> Said:
        """Return what the networks say, before any calibration.

        Raises
        ------
        ValueError
            If the model doesn't support the edge.
        """
        self._refuse_unknown(spectrum.absorber, spectrum.edge)
        return said_of(self.committee, spectrum, read)

    def _refuse_unknown(self, absorber: str, edge: str) -> None:
        if not self.supports(absorber, edge):
            known = ", ".join(" ".join(pair) for pair in self.card.edges)
            raise ValueError(
                f"the model {self.card.name} knows {known}, not {absorber} {edge}: choose other "
                "weights (worker.model)"
            )

    def _calibration(self, absorber: str, held: tuple[str, ...]) -> Calibration:
        """Return how answers are calibrated; earlier weights ask not whether elements are named."""
        name = group_of(absorber, named=bool(telling(held)))
        known = self._calibrations
        return known.get(name) or known[group_of(absorber, named=True)]

    def _place(self, absorber: str) -> int:
        """Return which spectra are familiar for an absorber; earlier weights have one for all."""
        return place_of(absorber) if len(self._familiar.mean) > 1 else 0

    def _threshold(self, absorber: str) -> float:
        """Return the distance from which on a spectrum is flagged."""
        outlier = self.card.outlier
        own = outlier.get("groups", {}).get(group_of(absorber, named=True))
        return float(outlier["threshold"] if own is None else own)

    def _invert(
        self, spectrum: NormalisedSpectrum, seed: int, *, samples: int, quality: Quality
    ) -> Inversion:
        started = time.perf_counter()
        read = condition(spectrum, span=self.card.grid)
        told = self.read(spectrum, read)
        calibration = self._calibration(spectrum.absorber, spectrum.elements)
        clusters = self.draw(
            told, spectrum.absorber, held=spectrum.elements, seed=seed, samples=samples
        )
        place = self._place(spectrum.absorber)
        score = self._familiar.distance(read.values, read.mask, edge=place)
        unusual = score > self._threshold(spectrum.absorber)
        estimates = estimates_of(
            clusters, told, absorber=spectrum.absorber, calibration=calibration
        )
        return Inversion(
            absorber=spectrum.absorber,
            edge=spectrum.edge,
            samples=clusters,
            estimates=estimates,
            grid=self._grid + read.origin,
            condition=read.known(),
            ood_score=score,
            ood_flag=unusual,
            misfit=None,
            model=self.digest,
            seed=seed,
            quality=quality,
            seconds=time.perf_counter() - started,
            flags=flags_of(
                spectrum,
                species=self.card.species,
                outlier=unusual,
                numbers=estimates.cn_set,
            ),
        )

    def draw(
        self, told: Said, absorber: str, *, held: tuple[str, ...], seed: int, samples: int
    ) -> Samples:
        """Draw clusters that agree with a reading.

        Parameters
        ----------
        told
            The reading.
        absorber, held
            Symbols of the absorber, and of what the sample holds; empty where not known.
        seed, samples
            The seed of the random numbers, and how many clusters.
        """
        calibration = self._calibration(absorber, held)
        half = float(calibration.bond.half(told.bond[1]))
        sought = Sought(
            absorber=absorber,
            cn=tempered(told.cn, calibration),
            kind=told.kind,
            bond=(told.bond[0], half / 1.645),
            cosine=told.cosine,
            radii=told.radii,
            held=held,
        )
        species, positions = self.clusters.draw(sought, samples, seed=seed)
        return Samples(species=species, positions=positions, weights=np.full(samples, 1 / samples))


def tempered(prob: Array, calibration: Calibration) -> Array:
    """Flatten or sharpen probabilities as calibration found it right."""
    powered = (prob / prob.max()) ** (1 / calibration.temperature)
    return np.asarray(powered / powered.sum())


def ranked(prob: Array) -> Array:
    """Return for each class the probability of all classes at least as likely.

    The absorbers of many crystals are fourfold or sixfold and seldom between, so that sets of
    likely classes may have holes; a range without holes would hold nearly everything.
    """
    return np.asarray([prob[prob >= own - TIE].sum() for own in prob])


def likely_set(prob: Array, *, threshold: float) -> tuple[int, ...]:
    """Return the classes whose `ranked` probability stays within the threshold; never none.

    Examples
    --------
    >>> likely_set(np.array([0.05, 0.55, 0.05, 0.35]), threshold=0.9)
    (1, 3)
    """
    scores = ranked(prob)
    chosen = (scores <= threshold + TIE) | (scores == scores.min())
    return tuple(int(k) for k in np.flatnonzero(chosen))


def estimates_of(
    clusters: Samples, told: Said, *, absorber: str, calibration: Calibration
) -> Estimates:
    """Return the figures: CN and bond as the networks say them, the others of the clusters."""
    head = Head(cn=told.cn, bond=told.bond[1], angle=float(np.degrees(told.cosine[1])))
    found = estimate(clusters, absorber=absorber, calibration=calibration, head=head)
    half = float(calibration.bond.half(told.bond[1]))
    chosen = likely_set(found.cn_prob, threshold=calibration.cn_threshold)
    return replace(found, cn_set=chosen, bond=OF_A_BOND.cut(told.bond[0], half))


def growth_of(sizes: Mapping[str, Any], tensors: dict[str, Tensor]) -> GeneralGrowth:
    """Put together what grows clusters, from the sizes and the tensors of its networks."""
    listing = Listing(ListingSize(**sizes["listing"]))
    placement = Placement(PlacementSize(**sizes["placement"]), elements=elements())
    for name, net in (("listing", listing), ("placement", placement)):
        net.load_state_dict({k: t.float() for k, t in below(tensors, f"{name}.").items()})
    return GeneralGrowth(
        listing=listing.eval(), placement=placement.eval(), nearest=tensors["nearest"].float()
    )


def below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, by the rest of their names."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


#: Before anything is known of the errors.
UNCALIBRATED = Calibration(
    head_weight=1.0, bond=Widening(scale=1.645, floor=0.01), angle=Widening(scale=1.0, floor=2.0)
)
