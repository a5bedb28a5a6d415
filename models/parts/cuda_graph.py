"""Replay the denoiser on a GPU: one launch where there would be hundreds.

A call of the network is some hundred small kernels, which a CPU launches more slowly than a GPU
runs them. A CUDA graph records them once for each shape of the input, then launches all together.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nearedge.models.clusters.descriptors import Expectation
from nearedge.models.parts.diffusion import Diffusion

#: Runs before recording: libraries choose their kernels in the first.
WARM_UP = 3
#: Shapes that are kept: each holds the memory of one run.
MOST = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """A recorded run: its graph, and the tensors that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    told: tuple[Tensor, ...]
    clean: Tensor

    def __call__(self, told: tuple[Tensor, ...]) -> Tensor:
        """Run on other values of the same shapes."""
        for mine, given in zip(self.told, told, strict=True):
            mine.copy_(given)
        self.graph.replay()
        return self.clean.clone()


class RecordedGraph:
    """A denoiser on a GPU that records itself for every shape that it is called with.

    Parameters
    ----------
    model
        The network in evaluation mode, on a CUDA device; its weights stay where they are.
    """

    def __init__(self, model: Diffusion) -> None:
        self._model = model
        self._recordings: dict[torch.Size, Recording] = {}

    def __call__(self, atoms: Tensor, sigma: Tensor, expected: Expectation) -> Tensor:
        """Denoise as `Diffusion` does; shapes beyond the first few run without a recording."""
        told = (atoms, sigma, expected.mean, expected.spread, expected.cn, expected.edge)
        if atoms.shape not in self._recordings:
            if len(self._recordings) == MOST:
                return self._run(told)
            self._recordings[atoms.shape] = self._record(told)
        return self._recordings[atoms.shape](told)

    def _run(self, told: tuple[Tensor, ...]) -> Tensor:
        atoms, sigma, *expected = told
        clean: Tensor = self._model(atoms, sigma, Expectation(*expected))
        return clean

    def _record(self, told: tuple[Tensor, ...]) -> Recording:
        own = tuple(part.clone() for part in told)
        aside = torch.cuda.Stream(own[0].device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(own[0].device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self._run(own)
        torch.cuda.current_stream(own[0].device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            clean = self._run(own)
        return Recording(graph=graph, told=own, clean=clean)
