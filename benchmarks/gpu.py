"""What a GPU makes of the denoiser: plain, replayed, compiled, in lower precision.

python benchmarks/gpu.py [--model siox] [--samples 16 64] [--compile] [--json]

Milliseconds of one call for the spectra that a GPU inverts at once, and how far its answer is from
that of the CPU in double precision; then milliseconds of whole answers on CPU and GPU. Needs CUDA.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from output import options, show
from torch import Tensor

from nearedge.models.answering.inverter import CUDA_SPECTRA, Inverter
from nearedge.models.answering.loading import load_parts
from nearedge.models.clusters import descriptors
from nearedge.models.clusters.descriptors import Expectation
from nearedge.models.data.dataset import read_dataset
from nearedge.models.data.instruments import InputCondition, cases
from nearedge.models.parts.cuda_graph import RecordedGraph
from nearedge.models.parts.diffusion import Diffusion
from nearedge.models.spectrum import NormalisedSpectrum

DATA = Path(__file__).parent / "data" / "siox.parquet"
ROWS, CALLS, ANSWERS = 64, 50, 32
CPU, GPU = torch.device("cpu"), torch.device("cuda")

Call = Callable[[Tensor, Tensor, Expectation], Tensor]


class Low(torch.nn.Module):
    """A denoiser whose products of matrices are taken in bf16."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *told: object) -> Tensor:
        """Denoise."""
        # a graph must not hold casts of weights that were made outside of it
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            out: Tensor = self.model(*told).float()
        return out


def spectra_of(data: Path) -> list[NormalisedSpectrum]:
    """Return spectra of the split ``val``."""
    told = [
        case.spectrum
        for case in cases(read_dataset(data, split="val"), condition=InputCondition.CLEAN)
    ]
    return [one for one in told if isinstance(one, NormalisedSpectrum)][:ANSWERS]


def question(
    inverter: Inverter, spectra: Sequence[NormalisedSpectrum], samples: int
) -> tuple[Tensor, Tensor, Expectation]:
    """Noisy clusters, noise and expectations of one batch."""
    told = inverter.expect(spectra[:CUDA_SPECTRA])
    start = load_parts(inverter.card, CPU).start
    source = torch.Generator().manual_seed(0)
    near = inverter.card.atoms
    atoms = torch.cat(start.draw(told, samples, atoms=near, generators=[source] * len(told)))
    level = float(inverter.card.diffusion["sigma_max"])
    noisy = atoms + level * torch.randn(atoms.shape, generator=source)
    return noisy, torch.full((len(atoms),), level), descriptors.join(told).expand(samples)


def variants(model: Diffusion, *, compiled: bool) -> Iterator[tuple[str, str, Call]]:
    """Name, precision of float32 products, and the denoiser, for each way to run it."""
    yield "plain", "highest", model
    yield "replayed", "highest", RecordedGraph(model)
    yield "replayed, tf32", "high", RecordedGraph(model)
    yield "replayed, bf16", "highest", RecordedGraph(Low(model))
    if compiled:
        fused: Any = torch.compile(model, dynamic=False)
        yield "compiled", "highest", fused
        yield "compiled, replayed", "highest", RecordedGraph(fused)
        yield "compiled, replayed, bf16", "highest", RecordedGraph(Low(fused))


def seconds(work: Callable[[], object], *, repeats: int) -> float:
    """Mean wall seconds of the work, the GPU's part included, after one run to warm up."""
    work()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeats


@torch.inference_mode()
def time_calls(
    inverter: Inverter, spectra: Sequence[NormalisedSpectrum], samples: int, *, compiled: bool
) -> Iterator[dict[str, Any]]:
    """Time one call of the denoiser in every way."""
    atoms, sigma, expected = question(inverter, spectra, samples)
    exact = load_parts(inverter.card, CPU).diffusion.double()
    some = expected[:ROWS]
    double = Expectation(some.mean.double(), some.spread.double(), some.cn.double(), some.edge)
    wanted = exact(atoms[:ROWS].double(), sigma[:ROWS].double(), double)
    told = atoms.to(GPU), sigma.to(GPU), expected.to(GPU)
    model = load_parts(inverter.card, GPU).diffusion
    for name, precision, call in variants(model, compiled=compiled):
        torch.set_float32_matmul_precision(precision)
        start = time.perf_counter()
        off = (call(*told)[:ROWS].double().cpu() - wanted).abs().max()
        first = time.perf_counter() - start
        spent = seconds(partial(call, *told), repeats=CALLS)
        yield {
            "what": f"one call, {name}",
            "samples": samples,
            "ms": 1000 * spent,
            "off": float(off),
            "first_s": first,
        }
    torch.set_float32_matmul_precision("highest")


def time_answers(
    inverter: Inverter, spectra: Sequence[NormalisedSpectrum], samples: int
) -> dict[str, Any]:
    """Time whole answers of the default quality."""
    spent = seconds(
        lambda: inverter.invert(spectra, seeds=range(len(spectra)), samples=samples), repeats=1
    )
    return {
        "what": f"one answer, {inverter.device.type}",
        "samples": samples,
        "ms": 1000 * spent / len(spectra),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Write the timings as a Markdown table."""
    lines = [
        "| what | samples | ms | off, Å | first call, s |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        extra = f"{row['off']:.0e} | {row['first_s']:.1f}" if "off" in row else "– | –"
        lines.append(f"| {row['what']} | {row['samples']} | {row['ms']:.1f} | {extra} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, data=DATA)
    parser.add_argument("--samples", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--compile", action="store_true", help="torch.compile too: a minute more")
    told = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(1, "found no CUDA device; this measures one\n")
    here = Inverter.load(told.model, device="cpu", threads=1)
    there = Inverter.load(told.model, device="cuda", threads=1)
    spectra, rows = spectra_of(told.data), []
    for samples in told.samples:
        rows += [time_answers(one, spectra, samples) for one in (here, there)]
        rows += time_calls(here, spectra, samples, compiled=told.compile)
    where = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    show(rows, where, table=table, as_json=told.json)


if __name__ == "__main__":
    main()
