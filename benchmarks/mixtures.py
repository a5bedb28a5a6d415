"""How well averages over unlike sites are answered: low and high coordination in one spectrum.

python benchmarks/mixtures.py [--model siox] [--split val]

Each spectrum is measured from the average over six sites of the split, drawn at random from those
of low and of high coordination: none to all six of the latter. Prints a Markdown table.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from nearedge.models.answering.inverter import Inverter
from nearedge.models.data.dataset import Site, read_dataset
from nearedge.models.data.instruments import average, measure
from nearedge.models.evaluation.answers import answer_of, truth_of
from nearedge.models.evaluation.figures import Score, score
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.spectrum import NormalisedSpectrum

DATA = Path(__file__).parent / "data" / "siox.parquet"
#: Absorber, its low and its high coordination numbers.
KINDS = (("Si", (4,), (5, 6)), ("O", (2,), (3,)))
#: Sites that are averaged.
SITES = 6


def mixtures(
    sites: Sequence[Site], absorber: str, low: tuple[int, ...], high: tuple[int, ...], *, draws: int
) -> Iterator[tuple[int, list[Site], NormalisedSpectrum]]:
    """Give how many sites are of high coordination, all averaged sites, and their spectrum."""
    few, many = (
        [s for s in sites if s.absorber == absorber and s.cn in wanted] for wanted in (low, high)
    )
    rng = np.random.default_rng(0)
    for count in range(SITES + 1):
        for _ in range(draws):
            mixed = [few[k] for k in rng.choice(len(few), SITES - count, replace=False)]
            mixed += [many[k] for k in rng.choice(len(many), count, replace=False)]
            seen = normalise_xanes(measure(average([s.spectrum for s in mixed]), rng=rng))
            if isinstance(seen, NormalisedSpectrum):
                yield count, mixed, seen


def ask(inverter: Inverter, mixed: Sequence[Site], seen: NormalisedSpectrum, *, seed: int) -> Score:
    """Score the answer against the averaged sites."""
    (found,) = inverter.invert([seen], seeds=[seed], samples=32)
    answer = answer_of(found.samples, found.estimates, absorber=found.absorber)
    return score(answer, truth_of(mixed))


def main() -> None:
    """Ask about every mixture and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="siox")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--split", default="val")
    parser.add_argument("--draws", type=int, default=20, help="spectra of each share")
    told = parser.parse_args()
    sites = read_dataset(told.data, split=told.split)
    inverter = Inverter.load(told.model, device="cpu", threads=1)
    print(
        "| mixture | of high CN | true CN | CN found | in its interval, % | bond off by, Å | "
        "in its interval, % |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    totals: list[str] = []
    for absorber, low, high in KINDS:
        every: list[float] = []
        errors: list[float] = []
        answers: dict[int, list[Score]] = {}
        drawn = mixtures(sites, absorber, low, high, draws=told.draws)
        for seed, (count, mixed, seen) in enumerate(drawn):
            answers.setdefault(count, []).append(ask(inverter, mixed, seen, seed=seed))
        for count, scores in answers.items():
            said = [one.cn_mean for one in scores]
            held = [one.cn_mean_covered for one in scores]
            every += held
            errors += [abs(one.cn_mean - one.cn_true) for one in scores]
            print(
                f"| {absorber} {_text(low)} and {_text(high)} | {count} of {SITES} | "
                f"{np.mean([one.cn_true for one in scores]):.2f} | "
                f"{np.mean(said):.2f} ± {np.std(said):.2f} | {100 * np.mean(held):.0f} | "
                f"{np.mean([one.bond_error for one in scores]):.3f} | "
                f"{100 * np.mean([one.bond_covered for one in scores]):.0f} |",
                flush=True,
            )
        totals.append(
            f"{absorber}: the interval of the mean CN holds the truth of "
            f"{100 * np.mean(every):.0f} %, the mean is off by {np.mean(errors):.2f}"
        )
    print("", *totals, sep="\n")


def _text(numbers: tuple[int, ...]) -> str:
    return "/".join(map(str, numbers))


if __name__ == "__main__":
    main()
