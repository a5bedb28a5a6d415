"""Train the model of all edges, or draw its learning curve.

    python benchmarks/train_any.py benchmarks/data/any-*.parquet -o weights/ [--steps 4000]
    python benchmarks/train_any.py DATA -o curve/ --share 0.25 --least 1 --absorbers Cu Fe S

It can be stopped at any time: the same command goes on from the last checkpoint in the folder. At
the end it calibrates on `val`, writes weights and card, and prints the figures of `val` and of
`test`: families of known prototypes, and prototypes that were held out as a whole, each with and
without the composition. Views are as far from the calculation as measurements are (`Gap`). With
--measured FOLDER (as of `nearedge evaluate --measured`) standards count for the calibration as much
as `val`, never for the networks.
"""

import argparse
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import torch

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.prepare import prepare
from nearedge.models import NormalisedSpectrum, Rejected
from nearedge.models.answering.estimate import Calibration
from nearedge.models.answering.general import said_of
from nearedge.models.data.dataset import Site, read_dataset
from nearedge.models.data.gap import residual_modes
from nearedge.models.parts.general import Committee, General
from nearedge.models.training.general import GeneralRecipe, lessons, share_of, train_member
from nearedge.models.training.general_release import Exam, examine, figures, release
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
    members: list[General],
    calibrations: dict[str, Calibration],
    parts: dict[str, list[Site]],
    **how,
) -> None:
    committee = Committee(members[0].size, members=len(members))
    for mine, theirs in zip(committee.members, members, strict=True):
        mine.load_state_dict(theirs.state_dict())
    committee.eval()
    for name, sites in parts.items():
        for known in (False, True):
            found = figures(examine(committee, sites, known=known, seed=9, **how), calibrations)
            told = ", ".join(f"{key} {value:.3f}" for key, value in found.items())
            print(f"{name}, composition {'known' if known else 'unknown'}: {told}", flush=True)


def on_standards(folder: Path, committee: Committee) -> Exam:
    """Examine the networks on measured standards; compounds count alike."""
    rows = []
    for one, file in read_standards(folder):
        if isinstance(file.spectrum, Rejected) or one.edge != "K" or one.absorber == "Si":
            continue  # the quartz scan is for reporting alone
        instrument = Instrument(absorber=one.absorber, edge=one.edge)
        found = prepare(file.spectrum, instrument, supports=lambda absorber, edge: True)
        if isinstance(found, NormalisedSpectrum):
            rows.append((one, said_of(committee, found)))
    scans = Counter((one.absorber, one.compound) for one, _ in rows)
    return Exam(
        absorber=tuple(one.absorber for one, _ in rows),
        said=tuple(said for _, said in rows),
        cn=np.array([one.cn for one, _ in rows]),
        bond=np.array([one.bond for one, _ in rows]),
        weight=np.array([1 / scans[one.absorber, one.compound] for one, _ in rows]),
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
    asked.add_argument("--measured", type=Path, help="folder of standards that calibrate, too")
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
    kept = [s for s in sites if s.split != "train"] + train
    parts = held_out(kept)
    card = release(
        members,
        train,
        parts["val"],
        recipe=recipe,
        residuals=residuals,
        out=args.out,
        measured=partial(on_standards, args.measured) if args.measured else None,
    )
    print(f"{card.path}: {len(card.edges)} absorbers", flush=True)
    groups = card.calibration["groups"]
    calibrations = {name: Calibration.from_dict(numbers) for name, numbers in groups.items()}
    absorbers = set(args.absorbers or [absorber for absorber, _ in card.edges])
    parts = {name: [s for s in some if s.absorber in absorbers] for name, some in parts.items()}
    report(members, calibrations, parts, gap=recipe.gap, residuals=residuals)


if __name__ == "__main__":
    main()
