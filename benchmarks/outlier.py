"""How well the score of a whole scan, and each part of it, tells foreign spectra from `val`.

python benchmarks/outlier.py [--model siox] [--split val]

Prints the area under the ROC curve of the distance from the training spectra, of the misfit, and of
the score that is made of both, for clean and measured spectra, as a Markdown table.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from nearedge.models.answering.inverter import Inverter
from nearedge.models.data.dataset import read_dataset
from nearedge.models.data.instruments import Case, InputCondition, cases
from nearedge.models.evaluation.evaluate import disguises
from nearedge.models.evaluation.figures import ood_auc
from nearedge.models.parts import outlier
from nearedge.models.spectrum import Array, NormalisedSpectrum

DATA = Path(__file__).parent / "data"


def parts(inverter: Inverter, asked: Iterable[Case]) -> Array:
    """Distance, misfit and score of each spectrum, (3, spectra)."""
    spectra = [c.spectrum for c in asked if isinstance(c.spectrum, NormalisedSpectrum)]
    answers = inverter.invert(spectra, seeds=range(len(spectra)), samples=16)
    misfit = np.array([answer.misfit for answer in answers])
    score = np.array([answer.ood_score for answer in answers])
    usual = inverter.card.outlier["misfit"]
    factor = np.array([outlier.score(1.0, one, usual=usual) for one in misfit])
    return np.array([score / factor, misfit, score])


def main() -> None:
    """Ask about both kinds of spectra and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="siox")
    parser.add_argument("--split", default="val")
    told = parser.parse_args()
    inverter = Inverter.load(told.model, device="cpu", threads=1)
    sites = read_dataset(DATA / "siox.parquet", split=told.split)
    foreign = read_dataset(DATA / "foreign.parquet")
    print("| condition | distance | misfit | score |\n| --- | ---: | ---: | ---: |")
    for condition in (InputCondition.CLEAN, InputCondition.MEASURED):
        inside = parts(inverter, cases(sites, condition=condition))
        strange = cases(foreign, condition=condition)
        outside = parts(inverter, (c for s in strange for c in disguises(s, inverter.card.edges)))
        areas = [ood_auc(a, b) for a, b in zip(inside, outside, strict=True)]
        print(f"| {condition.value} | " + " | ".join(f"{area:.3f}" for area in areas) + " |")


if __name__ == "__main__":
    main()
