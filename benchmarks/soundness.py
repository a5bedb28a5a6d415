"""How many drawn clusters are arrangements that matter takes, on families never trained on.

python benchmarks/soundness.py [--model siox] [--split val] [--sites 24] [--samples 8]

Twice: with the true descriptors told (radii by species, angles, coordination: what the drawing
alone can do), and from the spectra (what is answered). `models/evaluation/soundness.py` says what
sound is; the first table judges the true clusters. Prints Markdown tables.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nearedge.models.answering.inverter import Inverter
from nearedge.models.clusters import descriptors, geometry
from nearedge.models.clusters.descriptors import EXPECTED_CN_CLASSES, Expectation
from nearedge.models.data.dataset import Site, read_dataset
from nearedge.models.evaluation.figures import rdf_overlap, sorted_error
from nearedge.models.evaluation.soundness import SoundnessRule
from nearedge.models.inversion import Samples
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.spectrum import NormalisedSpectrum

DATA = Path(__file__).parent / "data"
#: Absorber and coordination number of the sites that are asked about.
KINDS = (("Si", 4), ("Si", 5), ("Si", 6), ("O", 2), ("O", 3))
#: How sure the true descriptors are told to be, Å and cosines.
SURE = 0.02

Draw = Callable[[Site, int], Samples | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Weighted means over one site's samples."""

    sound: float
    apart: float
    angled: float
    right: float
    angle: float
    overlap: float


def judge(site: Site, samples: Samples, rule: SoundnessRule) -> Verdict:
    """Judge the samples drawn for a site."""
    cluster = (site.absorber, samples.species, samples.positions)
    found = rule.judge(*cluster, cn=site.cn)
    true = geometry.shell_angles(site.absorber, site.species, site.positions)
    errors = [sorted_error(one, true) for one in geometry.shell_angles(*cluster)]
    kept = samples.weights * found.coordinated
    r, vocabulary = geometry.rdf_grid(), sorted({*site.species.tolist()})
    wanted = geometry.radial_distribution(site.species, site.positions, vocabulary=vocabulary, r=r)
    drawn = [
        geometry.radial_distribution(kinds, places, vocabulary=vocabulary, r=r)
        for kinds, places in zip(samples.species, samples.positions, strict=True)
    ]
    return Verdict(
        sound=float(samples.weights @ found.sound),
        apart=float(samples.weights @ found.apart),
        angled=float(samples.weights @ found.angled),
        right=float(samples.weights @ found.coordinated),
        angle=float(np.nan_to_num(errors) @ kept / kept.sum()) if kept.sum() > 0 else np.nan,
        overlap=float(samples.weights @ [rdf_overlap(one, wanted) for one in drawn]),
    )


def exactly(site: Site, inverter: Inverter) -> Expectation:
    """Tell what is true of a site."""
    card = inverter.card
    told = descriptors.describe(
        site.absorber, site.species, site.positions, vocabulary=card.species
    )
    mean = torch.from_numpy(np.nan_to_num(told)).float()[None]
    cn = torch.full((1, EXPECTED_CN_CLASSES), -20.0)
    cn[0, min(site.cn, EXPECTED_CN_CLASSES - 1)] = 0
    edge = torch.tensor([card.edges.index((site.absorber, site.edge))])
    return Expectation(mean, torch.full_like(mean, SURE), cn, edge)


def chosen(sites: Sequence[Site], absorber: str, cn: int, most: int) -> list[Site]:
    """Sites of one kind, spread evenly over the data."""
    own = [s for s in sites if s.absorber == absorber and s.cn == cn]
    return own[:: max(1, len(own) // most)][:most]


def table(title: str, draw: Draw, asked: dict[str, list[Site]], rule: SoundnessRule) -> None:
    """Ask about every site and print a table."""
    print(f"\n{title}\n")
    print("| sites | sound | no overlap | angles | right CN | angles off by, ° | RDF overlap |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    every, started = [], time.process_time()
    for name, sites in asked.items():
        drawn = [(s, samples) for k, s in enumerate(sites) if (samples := draw(s, k)) is not None]
        verdicts = [judge(site, samples, rule) for site, samples in drawn]
        every += verdicts
        print(_line(f"{name} ({len(verdicts)})", verdicts), flush=True)
    print(_line(f"all ({len(every)})", every))
    print(f"\n{(time.process_time() - started) / len(every):.2f} CPU-s a site, judging included")


def _line(name: str, verdicts: Sequence[Verdict]) -> str:
    values = np.array([(v.sound, v.apart, v.angled, v.right, v.angle, v.overlap) for v in verdicts])
    sound, apart, angled, right, angle, overlap = np.nanmean(values, axis=0)
    return (
        f"| {name} | {sound:.2f} | {apart:.2f} | {angled:.2f} | {right:.2f} | {angle:.1f} | "
        f"{overlap:.3f} |"
    )


def alone(site: Site) -> Samples:
    """Take the truth for the only sample."""
    return Samples(
        species=site.species[None],
        positions=site.positions[None].astype(np.float32),
        weights=np.ones(1),
    )


def from_truth(inverter: Inverter, samples: int) -> Draw:
    """Let clusters be drawn with the true descriptors told."""
    return lambda site, seed: inverter.draw(exactly(site, inverter), seed=seed, samples=samples)


def from_spectrum(inverter: Inverter, samples: int) -> Draw:
    """Let spectra be answered."""

    def draw(site: Site, seed: int) -> Samples | None:
        seen = normalise_xanes(site.spectrum)
        if not isinstance(seen, NormalisedSpectrum):
            return None
        return inverter.invert([seen], seeds=[seed], samples=samples)[0].samples

    return draw


def main() -> None:
    """Judge truth and drawn clusters, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="siox")
    parser.add_argument("--split", default="val")
    parser.add_argument("--sites", type=int, default=24, help="of each kind, at most")
    parser.add_argument("--samples", type=int, default=8)
    told = parser.parse_args()
    files = [DATA / "siox.parquet", DATA / "clusters.parquet"]
    rule = SoundnessRule.of(read_dataset(files, split="train"))
    held_out = read_dataset(files[0], split=told.split)
    asked = {f"{a}, {cn}-fold": chosen(held_out, a, cn, told.sites) for a, cn in KINDS}
    inverter = Inverter.load(told.model, device="cpu", threads=1)

    table("The true clusters", lambda site, _: alone(site), asked, rule)
    table("Drawn, true descriptors told", from_truth(inverter, told.samples), asked, rule)
    table("Drawn from spectra", from_spectrum(inverter, told.samples), asked, rule)


if __name__ == "__main__":
    main()
