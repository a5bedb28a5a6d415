"""Train the model of all edges, or draw its learning curve.

    python benchmarks/train_any.py benchmarks/data/any-*.parquet -o weights/ [--steps 1500]
    python benchmarks/train_any.py DATA -o weights/ --measured FOLDER [--folds 8]
    python benchmarks/train_any.py DATA -o curve/ --share 0.25 --least 1 --absorbers Cu Fe S

It can be stopped at any time: the same command goes on from the last checkpoint in the folder. At
the end it calibrates on `val`, writes weights and card, and prints the figures of `val` and of
`test`: families of known prototypes, and prototypes that were held out as a whole, each with and
without the composition. Views are as far from the calculation as measurements are (`Gap`).

With --measured FOLDER (as of `nearedge evaluate --measured`) the networks go on with measured scans
of known compounds, and the trees, which are grown last, learn from them, too. Before that the
compounds are left out in turn, a fold at a time: the figures of what is then said of them are
printed, and they count for the calibration as much as `val`.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.prepare import prepare
from nearedge.models import NormalisedSpectrum, Rejected
from nearedge.models.answering.card import Card, read_card
from nearedge.models.answering.estimate import Calibration
from nearedge.models.answering.general import (
    GeneralInverter,
    Said,
    group_of,
    likely_set,
    said_of,
    tempered,
)
from nearedge.models.clusters.geometry import first_shell
from nearedge.models.composition import elements_in
from nearedge.models.data.dataset import Site, read_dataset
from nearedge.models.data.gap import residual_modes
from nearedge.models.evaluation.alignment import shell_rmsds
from nearedge.models.evaluation.standards import Standard, StandardAnswer, compounds, to_markdown
from nearedge.models.inversion import Samples
from nearedge.models.parts.committee import Committee
from nearedge.models.training.forest import ForestRecipe, grow_forest
from nearedge.models.training.general import GeneralRecipe, lessons, share_of, train_member
from nearedge.models.training.general_release import (
    Exam,
    committee_of,
    examine,
    figures,
    release,
)
from nearedge.models.training.measured import (
    KnownScan,
    TuneRecipe,
    folds_of,
    measured_lessons,
    tuned,
)
from nearedge.streaming.commands.standards import read_standards

HERE = Path(__file__).parent


def held_out(sites: list[Site]) -> dict[str, list[Site]]:
    """Part the held-out sites by whether anything was learned of their prototype."""
    learned = {s.prototype for s in sites if s.split == "train"}
    test = [s for s in sites if s.split == "test"]
    return {
        "val": [s for s in sites if s.split == "val"],
        "test, known prototypes": [s for s in test if s.prototype in learned],
        "test, unseen prototypes": [s for s in test if s.prototype not in learned],
    }


def report(
    committee: Committee,
    calibrations: dict[str, Calibration],
    parts: dict[str, list[Site]],
    **how,
) -> None:
    for name, sites in parts.items():
        for known in (False, True):
            found = figures(examine(committee, sites, known=known, seed=9, **how), calibrations)
            told = ", ".join(f"{key} {value:.3f}" for key, value in found.items())
            print(f"{name}, composition {'known' if known else 'unknown'}: {told}", flush=True)


def report_shells(card: Card, sites: list[Site], *, samples: int = 8, **how) -> None:
    """Print how far first shells that are drawn lie from the true ones, where the CN is right."""
    inverter = GeneralInverter.load(card)
    exam = examine(inverter.committee, sites, known=True, views=1, seed=9, **how)
    apart, bonds = [], []
    for number, (site, told) in enumerate(zip(sites, exam.said, strict=True)):
        drawn = inverter.draw(
            told, site.absorber, held=elements_in(site.formula), seed=number, samples=samples
        )
        apart.append(shell_rmsds(drawn, site))
        bonds.append(bond_errors(drawn, site))
    found = np.concatenate(apart)
    known, each = np.isfinite(found), np.concatenate(bonds)
    print(
        f"test, unseen prototypes: of {len(found)} clusters {known.mean():.3f} have the right first"
        f" shell; off by rmsd {np.mean(found[known]):.3f} (median {np.median(found[known]):.3f}),"
        f" bond by bond {np.nanmean(each):.3f} Å",
        flush=True,
    )


def bond_errors(drawn: Samples, site: Site) -> np.ndarray:
    """Mean error of the sorted bonds of each cluster, Å; NaN where their number is wrong."""

    def bonds(species: np.ndarray, positions: np.ndarray) -> np.ndarray:
        inside = first_shell(site.absorber, species, positions)
        return np.sort(np.linalg.norm(positions[inside], axis=1))

    true = bonds(site.species, site.positions)
    found = [bonds(*one) for one in zip(drawn.species, drawn.positions, strict=True)]
    return np.array([abs(f - true).mean() if len(f) == len(true) else np.nan for f in found])


def known_scans(folder: Path) -> list[KnownScan]:
    """Read the measured standards of a folder; the quartz scan is for reporting alone."""
    scans = []
    for one, file in read_standards(folder):
        if isinstance(file.spectrum, Rejected) or one.edge != "K" or one.absorber == "Si":
            continue
        instrument = Instrument(absorber=one.absorber, edge=one.edge)
        found = prepare(file.spectrum, instrument, supports=lambda absorber, edge: True)
        if isinstance(found, NormalisedSpectrum):
            scans.append(KnownScan(compound=one.compound, spectrum=found, cn=one.cn, bond=one.bond))
    return scans


def left_out(scans: list[KnownScan], tune: Callable[[list[KnownScan]], Committee], folds: int):
    """Return what those say of each scan that have learned from the other folds alone.

    All scans as they are come first, then all without their compositions.
    """
    every = with_unnamed(scans)
    fold = folds_of([key_of(scan) for scan in scans], folds)
    told: dict[int, Said] = {}
    for k in range(folds):
        committee = tune([s for s, own in zip(scans, fold, strict=True) if own != k])
        asked = np.flatnonzero(np.tile(fold == k, 2))
        told |= {i: said_of(committee, every[i].spectrum) for i in asked}
        print(f"fold {k + 1} of {folds}", flush=True)
    return [told[i] for i in range(len(every))]


def named(scan: KnownScan) -> bool:
    """Tell whether a scan's composition is told."""
    return bool(scan.spectrum.elements)


def with_unnamed(scans: list[KnownScan]) -> list[KnownScan]:
    """Add every scan once more, without its composition."""
    bare = [replace(scan, spectrum=replace(scan.spectrum, elements=())) for scan in scans]
    return scans + bare


def key_of(scan: KnownScan) -> str:
    """First word of a compound's name: scans of its polymorphs and edges are left out together."""
    return scan.compound.split()[0].strip("'")


def exam_of(scans: list[KnownScan], told: list[Said]) -> Exam:
    """Put what was said beside the truth; compounds count alike."""
    count = Counter((scan.spectrum.absorber, scan.compound, named(scan)) for scan in scans)
    return Exam(
        absorber=tuple(scan.spectrum.absorber for scan in scans),
        named=tuple(named(scan) for scan in scans),
        said=tuple(told),
        cn=np.array([scan.cn for scan in scans]),
        bond=np.array([scan.bond for scan in scans]),
        weight=np.array([1 / count[s.spectrum.absorber, s.compound, named(s)] for s in scans]),
    )


def report_measured(
    scans: list[KnownScan],
    said: Sequence[Said],
    calibrations: dict[str, Calibration],
    absorbers: set[str],
) -> None:
    """Print what was said of the standards while they were left out, as `nearedge evaluate`."""
    standards, answers = [], {}
    for number, (scan, told) in enumerate(zip(scans, said, strict=True)):
        absorber = scan.spectrum.absorber
        standards.append(
            Standard(
                file=str(number),
                compound=scan.compound,
                absorber=absorber,
                edge="K",
                cn=scan.cn,
                bond=scan.bond,
            )
        )
        answers[str(number)] = (
            stated(told, calibrations[group_of(absorber, named=named(scan))])
            if absorber in absorbers
            else "unsupported"
        )
    print(to_markdown(compounds(standards, answers), {}), flush=True)


def stated(told: Said, calibration: Calibration) -> StandardAnswer:
    """Return the figures of an answer, as the model states them."""
    prob = tempered(told.cn, calibration)
    bond, half = told.bond[0], float(calibration.bond.half(told.bond[1]))
    numbers = likely_set(prob, threshold=calibration.cn_threshold)
    return StandardAnswer(
        cn=float(prob.argmax()),
        cn_set=numbers,
        bond=bond,
        bond_range=(bond - half, bond + half),
        doubts=("cn-undecided",) if len(numbers) > 1 else (),
    )


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("data", type=Path, nargs="+")
    asked.add_argument("-o", "--out", type=Path, required=True)
    asked.add_argument("--steps", type=int, default=GeneralRecipe().steps)
    asked.add_argument("--members", type=int, default=1)
    asked.add_argument("--share", type=float, default=1.0, help="of the training families")
    asked.add_argument("--residuals", type=Path, default=HERE / "data" / "residuals.parquet")
    asked.add_argument(
        "--least",
        type=int,
        default=GeneralRecipe().least_structures,
        help="structures of an absorber",
    )
    asked.add_argument("--absorbers", nargs="+", help="judged; default those that are supported")
    asked.add_argument("--measured", type=Path, help="folder of standards to learn from, too")
    asked.add_argument("--folds", type=int, default=8, help="of the standards left out in turn")
    asked.add_argument("--growth", default="any", help="weights whose growth of clusters is kept")
    asked.add_argument("--threads", type=int, default=1)
    args = asked.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    sites = read_dataset(args.data)
    train = share_of([s for s in sites if s.split == "train"], args.share)
    recipe = GeneralRecipe(steps=args.steps, least_structures=args.least)
    residuals = residual_modes(args.residuals)
    data = lessons(train)
    print(f"{len(data)} sites of {len({s.family for s in train})} families", flush=True)
    members = [
        train_member(
            data,
            recipe,
            number=number,
            residuals=residuals,
            checkpoint=args.out / f"member-{number}.pt",
            progress=lambda done, total, found: print(done, total, found, flush=True),
        )
        for number in range(args.members)
    ]
    trees = ForestRecipe()
    forest = partial(grow_forest, data, recipe, trees, residuals=residuals)
    scans = known_scans(args.measured) if args.measured else []
    exam = None

    def tune(some: list[KnownScan]) -> Committee:
        learned, how = measured_lessons(some), TuneRecipe()
        nets = [
            tuned(net, data, learned, recipe, how, number=number, residuals=residuals)
            for number, net in enumerate(members)
        ]
        return committee_of(nets, forest(measured=learned, tune=how))

    if scans:
        exam = exam_of(with_unnamed(scans), left_out(scans, tune, args.folds))
        committee = tune(scans)
    else:
        committee = committee_of(members, forest())
    kept = [s for s in sites if s.split != "train"] + train
    parts = held_out(kept)
    card = release(
        committee,
        train,
        parts["val"],
        recipe=recipe,
        residuals=residuals,
        growth=GeneralInverter.load(read_card(args.growth)).clusters,
        out=args.out,
        measured=exam,
        standards=sorted({(scan.spectrum.absorber, scan.compound) for scan in scans}),
        beside={"forest": asdict(trees)} | ({"tune": asdict(TuneRecipe())} if scans else {}),
    )
    print(f"{card.path}: {len(card.edges)} absorbers", flush=True)
    groups = card.calibration["groups"]
    calibrations = {name: Calibration.from_dict(numbers) for name, numbers in groups.items()}
    absorbers = set(args.absorbers or [absorber for absorber, _ in card.edges])
    parts = {name: [s for s in some if s.absorber in absorbers] for name, some in parts.items()}
    report(committee, calibrations, parts, gap=recipe.gap, residuals=residuals)
    report_shells(card, parts["test, unseen prototypes"], gap=recipe.gap, residuals=residuals)
    if exam:
        every = with_unnamed(scans)
        for start, told in ((0, "known"), (len(scans), "unknown")):
            print(f"standards left out, composition {told}:", flush=True)
            some = slice(start, start + len(scans))
            report_measured(every[some], exam.said[some], calibrations, absorbers)


if __name__ == "__main__":
    main()
