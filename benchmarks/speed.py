"""CPU seconds per answer: this model, and EDM at its published size, side by side.

OMP_NUM_THREADS=1 python benchmarks/speed.py [--model siox] [--samples 1 16 64] [--json]

Loading is excluded. EDM takes only a few of its 1000 steps and is scaled up, since every step
costs the same; both work on the same spectrum and the same number of atoms, in one process.
"""

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from edm import STEPS, Network, sample
from output import options, show

from nearedge.models import Quality
from nearedge.models.answering.inverter import Inverter
from nearedge.models.data.dataset import read_dataset
from nearedge.models.data.instruments import InputCondition, cases
from nearedge.models.spectrum import NormalisedSpectrum

DATA = Path(__file__).parent / "data" / "siox.parquet"


def spectrum_of(data: Path) -> NormalisedSpectrum:
    """Return the first silicon spectrum of the split ``test``."""
    sites = read_dataset(data, split="test", absorber="Si")[:1]
    (case,) = cases(sites, condition=InputCondition.CLEAN)
    assert isinstance(case.spectrum, NormalisedSpectrum)
    return case.spectrum


def seconds(work: Callable[[], object], *, repeats: int) -> tuple[float, float]:
    """Median CPU and wall seconds of the work, after one run to warm up."""
    work()
    spent = []
    for _ in range(repeats):
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        spent.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu, wall = np.median(spent, axis=0)
    return float(cpu), float(wall)


def time_model(
    inverter: Inverter, spectrum: NormalisedSpectrum, samples: int, repeats: int
) -> Iterator[dict[str, object]]:
    """Time every quality of the model."""
    for quality in Quality:
        cpu, wall = seconds(
            lambda quality=quality: inverter.invert(
                [spectrum], seeds=[1], samples=samples, quality=quality
            ),
            repeats=repeats,
        )
        yield {"method": f"model, {quality}", "samples": samples, "cpu_s": cpu, "wall_s": wall}


def time_edm(inverter: Inverter, samples: int, steps: int) -> dict[str, object]:
    """Time a few steps of EDM on clusters of the model's size, scaled to all its steps."""
    atoms, species = inverter.card.atoms + 1, len(inverter.card.species)  # EDM moves the absorber
    context = torch.randn(int((inverter.card.grid[1] - inverter.card.grid[0]) * 2) + 1)
    network = Network(species=species, context=len(context)).eval()
    cpu, wall = seconds(
        lambda: sample(network, samples=samples, atoms=atoms, context=context, steps=steps),
        repeats=1,
    )
    scale = STEPS / steps
    return {
        "method": f"EDM, {STEPS} steps",
        "samples": samples,
        "cpu_s": cpu * scale,
        "wall_s": wall * scale,
    }


def table(rows: Sequence[dict[str, object]]) -> str:
    """Write the timings as a Markdown table."""
    lines = ["| method | samples | CPU s | wall s |", "| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {row['method']} | {row['samples']} | {row['cpu_s']:.3g} | {row['wall_s']:.3g} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, data=DATA)
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--edm-steps", type=int, default=2)
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    inverter = Inverter.load(told.model, device="cpu", threads=told.threads)
    spectrum = spectrum_of(told.data)
    rows: list[dict[str, object]] = []
    for samples in told.samples:
        rows += time_model(inverter, spectrum, samples, told.repeats)
        rows.append(time_edm(inverter, samples, told.edm_steps))
    where = {
        "threads": told.threads,
        "atoms": inverter.card.atoms,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    show(rows, where, table=table, as_json=told.json)


if __name__ == "__main__":
    main()
