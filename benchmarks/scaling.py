"""How the cost of answers grows with samples and spectra, and that of a step with atoms.

OMP_NUM_THREADS=1 python benchmarks/scaling.py [--model siox] [--json]

Answers are of the default quality, loading excluded. A step is one call of the denoiser for 16
samples; the networks for other numbers of atoms have the released one's sizes and random weights.
"""

import platform
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from output import Row, options, show
from speed import DATA, seconds, spectrum_of

from nearedge.models.answering.inverter import Inverter
from nearedge.models.parts import diffusion
from nearedge.models.parts.diffusion import Noise
from nearedge.models.spectrum import NormalisedSpectrum

SAMPLES, SPECTRA, ATOMS = (1, 4, 16, 64, 256), (1, 4, 16), (8, 15, 22, 30)
#: Samples where something else grows.
USUAL = 16


def time_answers(
    inverter: Inverter, spectrum: NormalisedSpectrum, *, spectra: int, samples: int, repeats: int
) -> Row:
    """Time the answers to so many spectra at once."""
    ask = partial(inverter.invert, [spectrum] * spectra, seeds=range(spectra), samples=samples)
    cpu, wall = seconds(ask, repeats=repeats)
    size = {"spectra": spectra, "samples": samples, "atoms": inverter.card.atoms}
    return {"what": "answers", **size, "cpu_s": cpu, "wall_s": wall}


@torch.inference_mode()
def time_step(inverter: Inverter, spectrum: NormalisedSpectrum, *, atoms: int, repeats: int) -> Row:
    """Time one call of a denoiser of so many atoms."""
    card = inverter.card
    species, noise = len(card.species), Noise(**card.diffusion)
    model = diffusion.build(
        species=species, edges=len(card.edges), atoms=atoms, noise=noise, **card.network
    ).eval()
    (expected,) = inverter.expect([spectrum])
    told = torch.randn(USUAL, atoms, 3 + species), torch.full((USUAL,), noise.sigma_max)
    cpu, wall = seconds(partial(model, *told, expected.expand(USUAL)), repeats=10 * repeats)
    size = {"spectra": 1, "samples": USUAL, "atoms": atoms}
    return {"what": "one step", **size, "cpu_s": cpu, "wall_s": wall}


def measured(inverter: Inverter, spectrum: NormalisedSpectrum, *, repeats: int) -> Iterator[Row]:
    """Grow one size after the other."""
    for samples in SAMPLES:
        yield time_answers(inverter, spectrum, spectra=1, samples=samples, repeats=repeats)
    for spectra in SPECTRA:
        yield time_answers(inverter, spectrum, spectra=spectra, samples=USUAL, repeats=repeats)
    for atoms in ATOMS:
        yield time_step(inverter, spectrum, atoms=atoms, repeats=repeats)


def table(rows: Sequence[Row]) -> str:
    """Write the timings as a Markdown table."""
    lines = ["| what | spectra | samples | atoms | CPU s |", "| --- | ---: | ---: | ---: | ---: |"]
    lines += [
        f"| {row['what']} | {row['spectra']} | {row['samples']} | {row['atoms']} "
        f"| {row['cpu_s']:.3g} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, data=DATA)
    parser.add_argument("--repeats", type=int, default=3)
    told = parser.parse_args()
    torch.manual_seed(0)
    inverter = Inverter.load(told.model, device="cpu", threads=1)
    rows = list(measured(inverter, spectrum_of(told.data), repeats=told.repeats))
    where = {"threads": 1, "torch": torch.__version__, "machine": platform.machine()}
    show(rows, where, table=table, as_json=told.json)


if __name__ == "__main__":
    main()
