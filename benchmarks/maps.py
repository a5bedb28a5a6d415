"""Spectra a second through normalisation and heads, as of the pixels of a map.

python benchmarks/maps.py [--jobs 2] [--count 4096] [--low-loss 1024] [--json]

Simulated: Poisson counts of a silicon K edge on its background, one energy axis. Each job is a
process with one thread; loading is excluded. Beside it one spectrum after the other. With
``--low-loss`` each core loss has a low loss of so many channels, whose peak aligns it.
"""

import argparse
import multiprocessing as mp
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from output import show

from nearedge.models.answering.heads import answer_all
from nearedge.models.answering.inverter import Inverter
from nearedge.models.many_spectra import Spectra
from nearedge.models.normalise.eels import normalise_eels
from nearedge.models.normalise.many.eels import normalise_many_eels
from nearedge.models.normalise.many.xanes import normalise_many_xanes
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.spectrum import Rejected, Technique

#: Channels, and eV between them.
AXES = ((110, 1.0), (256, 0.5), (512, 0.5), (1024, 0.25), (2048, 0.25))
AT_ONCE = 1024
SILICON = 1843.0  # eV
WAYS = {
    Technique.EELS: (normalise_eels, normalise_many_eels),
    Technique.XANES: (normalise_xanes, normalise_many_xanes),
}


Told = tuple[Technique, int, float, int, int, int]
"""Technique, channels, eV between them, spectra, seed, and channels of the low loss or 0."""


def block(told: Told) -> Spectra:
    """Return simulated spectra."""
    technique, channels, step, count, seed, low = told
    rng = np.random.default_rng(seed)
    energy = SILICON - 55.0 + step * np.arange(channels)
    off = energy - SILICON - rng.normal(0.0, 0.5, count)[:, None]
    line = rng.uniform(0.5, 1.5, count)[:, None] * np.exp(-0.5 * ((off - 4) / 2) ** 2)
    edge = (1 + line + 0.1 * np.sin(off / 6)) / (1 + np.exp(-np.clip(off / 0.8, -50, 50)))
    if technique is Technique.EELS:
        edge = 3 * (energy / SILICON) ** -3.5 + 0.3 * edge * (energy / SILICON) ** -4
    else:
        edge = 0.3 + edge
    spectra = Spectra(
        energy=energy,
        mu=rng.poisson(2e4 * edge).astype(float),
        technique=technique,
        absorber="Si",
        edge="K",
    )
    if not low or technique is not Technique.EELS:
        return spectra
    losses = -20.0 + 0.1 * np.arange(low)
    peak = 1e5 * np.exp(-0.5 * ((losses - rng.normal(0.0, 0.5, count)[:, None]) / 0.3) ** 2)
    counts = rng.poisson(peak + 20.0).astype(float)
    return replace(spectra, low_loss_energy=losses, low_loss=counts)


@cache
def _model() -> Inverter:
    return Inverter.load("siox", device="cpu", threads=1)


def answer(told: Told) -> tuple[float, float, float, int]:
    """Answer a block; return when it began and ended, its CPU seconds, and how many it answered."""
    technique, _, _, count, *_ = told
    spectra, model = block(told), _model()
    _, many = WAYS[technique]
    answer_all(model, many(spectra.some(slice(0, 8))), span=model.card.grid)  # warm
    began, cpu, rejected = time.monotonic(), time.process_time(), 0
    for first in range(0, count, AT_ONCE):
        some = many(spectra.some(slice(first, first + AT_ONCE)))
        rejected += len(answer_all(model, some, span=model.card.grid).rejected)
    return began, time.monotonic(), time.process_time() - cpu, count - rejected


def alone(told: Told) -> float:
    """Spectra a CPU second, one after the other, in this process."""
    technique, _, _, count, *_ = told
    spectra, model = block(told), _model()
    single, _ = WAYS[technique]
    began = time.process_time()
    found = [single(spectra.one(k)) for k in range(count)]
    model.expect([one for one in found if not isinstance(one, Rejected)])
    return count / (time.process_time() - began)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Write the speeds as a Markdown table."""
    lines = [
        "| technique | channels | answered | spectra/s | per CPU second | one by one, the same |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['technique']} | {row['channels']} | {row['answered']} | {row['together']:.0f} | "
        f"{row['a core']:.0f} | {row['alone']:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--count", type=int, default=4096)
    parser.add_argument("--low-loss", type=int, default=0, help="channels of it, 0: none")
    told = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    share = -(-told.count // told.jobs)
    rows = []
    with mp.get_context("spawn").Pool(told.jobs) as pool:
        for technique in WAYS:
            for channels, step in AXES:
                like = technique, channels, step
                asked = [(*like, share, k, told.low_loss) for k in range(told.jobs)]
                found = pool.map(answer, asked, chunksize=1)
                seconds = max(one[1] for one in found) - min(one[0] for one in found)
                rows.append(
                    {
                        "technique": str(technique),
                        "channels": channels,
                        "together": share * told.jobs / seconds,
                        "a core": share * told.jobs / sum(one[2] for one in found),
                        "answered": sum(one[3] for one in found),
                        "alone": alone((*like, 32, 0, told.low_loss)),
                    }
                )
    where = {"jobs": told.jobs, "spectra": share * told.jobs, "machine": platform.machine()}
    show(rows, where, table=table, as_json=told.json)


if __name__ == "__main__":
    main()
