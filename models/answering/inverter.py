"""The model, loaded: spectra in, sampled clusters and their estimates out."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearedge.models.answering.agreement import Agreement, agreement, misfit
from nearedge.models.answering.card import Card, read_card
from nearedge.models.answering.damping import looks_damped
from nearedge.models.answering.estimate import Calibration, Head, estimate
from nearedge.models.answering.explained import Explained, scatter_of
from nearedge.models.answering.flags import flags_of
from nearedge.models.answering.heads import Heads, head_calibration
from nearedge.models.answering.loading import Parts, load_parts, nearest_table
from nearedge.models.answering.projection import agreeing, project
from nearedge.models.clusters import descriptors
from nearedge.models.clusters.descriptors import SHELL, Expectation, join
from nearedge.models.inversion import Inversion, Quality, Samples
from nearedge.models.parts import diffusion, outlier
from nearedge.models.parts.condition import Condition, condition, grid_of
from nearedge.models.parts.cuda_graph import RecordedGraph
from nearedge.models.parts.device import choose_device
from nearedge.models.parts.encoder import unsmoothed
from nearedge.models.parts.many_conditions import Conditions
from nearedge.models.spectrum import Array, NormalisedSpectrum

#: Spectra that a GPU inverts at once; a smaller batch is filled up, so that shapes never change.
CUDA_SPECTRA = 8
#: Spectra that the heads read together.
HEAD_SPECTRA = 256
#: Samples whose atoms overlap are left out unless those that remain weigh less than this.
LEAST_SOUND = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What a quality costs: denoising steps, and the share of fresh noise at each."""

    steps: int
    eta: float


EFFORT = {
    Quality.FAST: Effort(steps=3, eta=0.0),
    Quality.DEFAULT: Effort(steps=4, eta=0.5),
    Quality.THOROUGH: Effort(steps=20, eta=1.0),
}


class Inverter:
    """A model on its device.

    Parameters
    ----------
    card
        The card of the weights.
    parts
        The networks.
    device
        Where the denoiser runs; the encoder is small and stays on the CPU.

    Attributes
    ----------
    card
        What is known of the weights.
    device
        Where the denoiser runs.
    """

    def __init__(self, card: Card, parts: Parts, *, device: torch.device) -> None:
        self.card, self.device = card, device
        self._parts = parts
        self._denoiser = (
            RecordedGraph(parts.diffusion) if device.type == "cuda" else parts.diffusion
        )
        self._grid = grid_of(card.grid)
        self._calibration = Calibration.from_dict(card.calibration.get("estimates", {}))
        self._nearest = nearest_table(card)
        self._explained = Explained.of_card(card.outlier)

    @classmethod
    def load(cls, model: str = "siox", *, device: str = "auto", threads: int = 0) -> "Inverter":
        """Load weights.

        Parameters
        ----------
        model
            Name of shipped weights, or the path of a ``.safetensors`` file.
        device
            ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads
            CPU threads of torch; 0 leaves torch's own choice. Answers are the same bit for bit
            only for the same number.

        Raises
        ------
        nearedge.models.answering.card.CardError
            If weights or card are missing or don't belong together.
        """
        if threads:
            torch.set_num_threads(threads)
        card, place = read_card(model), choose_device(device)
        return cls(card, load_parts(card, place), device=place)

    def invert(
        self,
        spectra: Sequence[NormalisedSpectrum],
        *,
        seeds: Sequence[int],
        samples: int = 16,
        quality: Quality = Quality.DEFAULT,
        progress: Callable[[int], None] = lambda done: None,
    ) -> list[Inversion]:
        """Draw clusters for each spectrum.

        An answer depends on its spectrum, seed, number of samples, quality, model and machine,
        never on the other spectra of the call.

        Parameters
        ----------
        spectra
            Normalised, of edges that the model supports.
        seeds
            One for each spectrum.
        samples
            Clusters per spectrum.
        quality
            How many denoising steps to spend.
        progress
            Called with the number of spectra done.

        Raises
        ------
        ValueError
            If the model doesn't support an edge, or seeds and spectra differ in number.
        """
        if len(seeds) != len(spectra):
            raise ValueError(f"found {len(seeds)} seeds for {len(spectra)} spectra; one each")
        answers: list[Inversion] = []
        for spectrum_batch, seed_batch in self._batches(spectra, seeds):
            answers += self._invert(spectrum_batch, seed_batch, samples=samples, quality=quality)
            progress(len(answers))
        return answers

    def heads(
        self, read: Conditions, *, absorber: str, edge: str, elements: tuple[str, ...] = ()
    ) -> Heads:
        """Give what the descriptor heads say of many spectra of one edge, in batches.

        Raises
        ------
        ValueError
            If the model doesn't support the edge.
        """
        number = self._edge_of(absorber, edge)
        values, mask = (torch.from_numpy(part.copy()) for part in (read.values, read.mask))
        some = [slice(k, k + HEAD_SPECTRA) for k in range(0, max(len(values), 1), HEAD_SPECTRA)]
        answers = [self._parts.reader(values[rows], mask[rows], number) for rows in some]
        found = descriptors.tidy(join(answers), species=len(self.card.species))
        mean, spread = found.mean.double().numpy(), found.spread.double().numpy()
        return Heads(
            cn=unsmoothed(found.cn.exp().double()).numpy(),
            bond=mean[:, -SHELL],
            bond_spread=spread[:, -SHELL],
            cosine=mean[:, 1 - SHELL],
            cosine_spread=spread[:, 1 - SHELL],
            distance=self._parts.familiar.distances(read.values, read.mask, edge=number),
            threshold=float(self.card.outlier["threshold"]),
            calibration=head_calibration(self.card),
            model=self.card.digest,
            species=self.card.species,
        )

    def expect(self, spectra: Sequence[NormalisedSpectrum]) -> list[Expectation]:
        """Give what the descriptor heads expect of each cluster: an answer in milliseconds.

        Raises
        ------
        ValueError
            If the model doesn't support an edge.
        """
        return [self._expect(s, condition(s, span=self.card.grid)) for s in spectra]

    def scatter(self, spectra: Sequence[NormalisedSpectrum]) -> list[float]:
        """Give how far the sites behind each spectrum are expected to scatter; see `scatter_of`.

        Raises
        ------
        ValueError
            If the model doesn't support an edge.
        """
        return [self._scatter(one) for one in self.expect(spectra)]

    def _scatter(self, expected: Expectation) -> float:
        units = self._parts.reader.ensemble.get_buffer("scale")
        return scatter_of(expected, units[int(expected.edge[0])])

    def head(self, spectrum: NormalisedSpectrum) -> Head:
        """Return what the descriptor heads, and the part that reads averages, say of a spectrum.

        Raises
        ------
        ValueError
            If the model doesn't support the edge.
        """
        read = condition(spectrum, span=self.card.grid)
        return self._head(spectrum, read, self._expect(spectrum, read))

    def _head(self, spectrum: NormalisedSpectrum, read: Condition, expected: Expectation) -> Head:
        head, part = head_of(expected), self._parts.shares
        if part is None or not spectrum.complete:
            return head
        values, mask = (torch.from_numpy(a.copy())[None] for a in (read.values, read.mask))
        shares = part(values, mask, self._edge(spectrum))[0]
        scatter = self._scatter(expected)
        return replace(head, shares=shares.double().numpy(), scatter=scatter)

    def draw(
        self,
        expected: Expectation,
        *,
        seed: int,
        samples: int = 16,
        quality: Quality = Quality.DEFAULT,
    ) -> Samples:
        """Draw clusters for an expectation, a batch of one, wherever it comes from.

        Parameters
        ----------
        expected
            Descriptors with their spread, coordination and edge, as `expect` gives them.
        seed, samples, quality
            As in `invert`.
        """
        told = _tempered(expected, self.card)
        (atoms,) = self._draw([told], [seed], samples=samples, effort=EFFORT[quality])
        absorber, _ = self.card.edges[int(expected.edge[0])]
        return self._samples(atoms, expected, absorber=absorber)

    @property
    def calibration(self) -> Calibration:
        """How the estimates are calibrated."""
        return self._calibration

    def compare(self, spectrum: NormalisedSpectrum, samples: Samples) -> Agreement:
        """Compare sampled clusters with a spectrum, through the spectra that they imply.

        Raises
        ------
        ValueError
            If the model doesn't support the edge.
        """
        return self._compare(spectrum, condition(spectrum, span=self.card.grid), samples)

    def _compare(
        self, spectrum: NormalisedSpectrum, read: Condition, samples: Samples
    ) -> Agreement:
        atoms = self.card.atoms
        return agreement(
            self._parts.surrogates[self._edge(spectrum)],
            read,
            samples.positions[:, :atoms],
            descriptors.numbers(samples.species[:, :atoms], self.card.species),
            species=len(self.card.species),
            step=self.card.grid[2],
        )

    def _batches(
        self, spectra: Sequence[NormalisedSpectrum], seeds: Sequence[int]
    ) -> Iterator[tuple[Sequence[NormalisedSpectrum], Sequence[int]]]:
        """Yield batches, on the CPU of one: the last bits of a product depend on its shape."""
        size = CUDA_SPECTRA if self.device.type == "cuda" else 1
        for first in range(0, len(spectra), size):
            yield spectra[first : first + size], seeds[first : first + size]

    def _edge(self, spectrum: NormalisedSpectrum) -> int:
        return self._edge_of(spectrum.absorber, spectrum.edge)

    def _edge_of(self, absorber: str, edge: str) -> int:
        pair = (absorber, edge)
        if pair not in self.card.edges:
            known = ", ".join(" ".join(p) for p in self.card.edges)
            raise ValueError(
                f"the model {self.card.name} knows {known}, not {' '.join(pair)}: choose other "
                "weights (worker.model) or train some with `nearedge train`"
            )
        return self.card.edges.index(pair)

    def _expect(self, spectrum: NormalisedSpectrum, read: Condition) -> Expectation:
        values, mask = (torch.from_numpy(a.copy())[None] for a in (read.values, read.mask))
        found = self._parts.reader(values, mask, self._edge(spectrum))
        return descriptors.tidy(found, species=len(self.card.species))

    def _invert(
        self,
        spectra: Sequence[NormalisedSpectrum],
        seeds: Sequence[int],
        *,
        samples: int,
        quality: Quality,
    ) -> list[Inversion]:
        started = time.perf_counter()
        read = [condition(s, span=self.card.grid) for s in spectra]
        expected = [self._expect(s, r) for s, r in zip(spectra, read, strict=True)]
        told = [_tempered(one, self.card) for one in expected]
        atoms = self._draw(told, seeds, samples=samples, effort=EFFORT[quality])
        seconds = (time.perf_counter() - started) / len(spectra)
        return [
            self._answer(s, r, e, a, seed=seed, quality=quality, seconds=seconds)
            for s, r, e, a, seed in zip(spectra, read, expected, atoms, seeds, strict=True)
        ]

    @torch.inference_mode()
    def _draw(
        self, expected: Sequence[Expectation], seeds: Sequence[int], *, samples: int, effort: Effort
    ) -> list[Tensor]:
        """Draw the atoms of each spectrum, (samples, atoms, 3 + species)."""
        size = CUDA_SPECTRA if self.device.type == "cuda" else 1
        filled = [*expected, *[expected[-1]] * (size - len(expected))]
        sources = [_Source(seed, samples, self.card) for seed in seeds]
        sources += [sources[-1].same() for _ in range(size - len(seeds))]
        told = descriptors.join(filled).expand(samples).to(self.device)

        def noise() -> Tensor:
            return torch.cat([source() for source in sources]).to(self.device)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            clean: Tensor = self._denoiser(x, sigma.expand(len(x)), told)
            return clean

        near = self._parts.start.draw(
            expected,
            samples,
            atoms=self.card.atoms,
            generators=[source.generator for source in sources[: len(expected)]],
        )
        near += [near[-1]] * (size - len(near))
        levels = self._parts.diffusion.noise.schedule(effort.steps)
        start = torch.cat(near).to(self.device) + levels[0] * noise()
        drawn = diffusion.draw(denoise, start, levels, eta=effort.eta, noise=noise)
        return list(torch.split(drawn.cpu(), samples)[: len(expected)])

    def _answer(
        self,
        spectrum: NormalisedSpectrum,
        read: Condition,
        expected: Expectation,
        atoms: Tensor,
        *,
        seed: int,
        quality: Quality,
        seconds: float,
    ) -> Inversion:
        drawn = self._samples(atoms, expected, absorber=spectrum.absorber)
        found = self._compare(spectrum, read, drawn)
        # a part of a scan was normalised by what there is of it, which the implied spectrum was not
        power = float(self.card.surrogate["sharpness"]) if spectrum.complete else 0.0
        samples = reweighted(drawn, found.weights(power))
        unexplained = misfit(found.implied, samples.weights, read)
        implied = samples.weights @ found.implied
        score = self._score(spectrum, read, unexplained)
        flag = score > float(self.card.outlier["threshold"])
        estimates = estimate(
            samples,
            absorber=spectrum.absorber,
            calibration=self._calibration,
            head=self._head(spectrum, read, expected),
            vocabulary=self.card.species,
        )
        return Inversion(
            absorber=spectrum.absorber,
            edge=spectrum.edge,
            samples=samples,
            estimates=estimates,
            grid=self._grid + read.origin,
            condition=read.known(),
            ood_score=score,
            ood_flag=flag,
            misfit=unexplained,
            usual_misfit=self._explained.usual,
            implied=implied,
            model=self.card.digest,
            seed=seed,
            quality=quality,
            seconds=seconds,
            flags=flags_of(
                spectrum,
                species=self.card.species,
                outlier=flag,
                # the misfit of a part of a scan is not comparable, and less is known of it
                unexplained=spectrum.complete
                and self._explained.fails(unexplained, self._scatter(expected)),
                damped=looks_damped(spectrum, read.known(), implied),
                numbers=estimates.cn_set,
            ),
        )

    def _score(self, spectrum: NormalisedSpectrum, read: Condition, unexplained: float) -> float:
        """Return the out-of-distribution score; that of a part of a scan takes no misfit."""
        edge = self._edge(spectrum)
        far = self._parts.familiar.distance(read.values, read.mask, edge=edge)
        usual = float(self.card.outlier["misfit"])
        return outlier.score(far, unexplained, usual=usual) if spectrum.complete else far

    def _samples(self, atoms: Tensor, expected: Expectation, *, absorber: str) -> Samples:
        """Make clusters of drawn atoms: weighed by their angles, brought to the expected radii."""
        raw = atoms[..., :3].numpy(), atoms[..., 3:].argmax(-1).numpy()
        species = self.card.species
        weights = agreeing(*raw, expected, absorber=absorber, vocabulary=species)
        positions, kinds = project(*raw, weights, expected, absorber=absorber, vocabulary=species)
        sound = weights * _apart(positions, kinds, self._nearest)
        return Samples(
            species=np.array(species)[kinds],
            positions=positions,
            weights=sound / sound.sum() if sound.sum() > LEAST_SOUND else weights,
        )


def reweighted(samples: Samples, factors: Array) -> Samples:
    """Multiply the samples' weights by ``factors`` (samples,)."""
    weights = samples.weights * factors
    return replace(samples, weights=weights / weights.sum())


class _Source:
    """Noise of one spectrum, from its own seed and drawn on the CPU: alike on every device."""

    def __init__(self, seed: int, samples: int, card: Card) -> None:
        self._arguments = (seed, samples, card)
        self._shape = (samples, card.atoms, 3 + len(card.species))
        self.generator = torch.Generator().manual_seed(seed % 2**63)

    def __call__(self) -> Tensor:
        return torch.randn(self._shape, generator=self.generator)

    def same(self) -> "_Source":
        return _Source(*self._arguments)


def _tempered(expected: Expectation, card: Card) -> Expectation:
    """Flatten or sharpen the head's coordination numbers as calibration found it right."""
    temperature = float(card.calibration.get("cn_temperature", 1.0))
    cn = torch.log_softmax(expected.cn / temperature, -1)
    return Expectation(expected.mean, expected.spread, cn, expected.edge)


def head_of(expected: Expectation) -> Head:
    """Read what the descriptor head says of one spectrum."""
    prob = unsmoothed(expected.cn[0].exp().double()).numpy()
    cosine = float(expected.spread[0, 1 - SHELL])
    return Head(
        cn=prob,
        bond=float(expected.spread[0, -SHELL]),
        angle=float(np.degrees(cosine)),
    )


def _apart(
    positions: NDArray[np.float32], kinds: NDArray[np.int64], nearest: Array
) -> NDArray[np.bool_]:
    """Tell whether no two atoms of a sample overlap, (samples,)."""
    apart = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)
    i, j = np.triu_indices(positions.shape[1], 1)
    return np.asarray((apart[:, i, j] >= nearest[kinds[:, i], kinds[:, j]]).all(1))
