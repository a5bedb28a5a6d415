"""What a trained model still needs before it can be believed: numbers from held-out families."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearedge.models.answering.estimate import Widening, averaged_distribution
from nearedge.models.answering.inverter import Inverter, reweighted
from nearedge.models.clusters import geometry
from nearedge.models.clusters.descriptors import Expectation, join
from nearedge.models.data.dataset import Site
from nearedge.models.data.distant import distant_spectra
from nearedge.models.data.instruments import (
    MOST_AVERAGED,
    Case,
    InputCondition,
    average,
    cases,
    measure,
)
from nearedge.models.evaluation.figures import answer_of, score, summarise, truth_of
from nearedge.models.inversion import Inversion
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.parts import outlier
from nearedge.models.parts.diffusion import KIND_SCALE
from nearedge.models.spectrum import Array, NormalisedSpectrum, Rejected
from nearedge.models.training.uncertainty import fit_calibration, fit_mean

#: What uncertainty is calibrated on.
CONDITIONS = (InputCondition.CLEAN, InputCondition.MEASURED)
#: Share of spectra of families never seen that may be called outliers.
FALSE_ALARMS = 0.05
#: Share of them whose misfit alone is called not explained.
MISFIT_ALARMS = 0.01
#: Between these quantiles of held-out families a misfit is usual.
USUAL = (0.1, 0.9)
#: How much closer than the closest of a thousand training clusters atoms may come.
CLOSER = 0.95
#: Powers of the forward likelihood to choose from; 0 leaves the samples as they were drawn.
SHARPNESSES = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)

Question = tuple[NormalisedSpectrum, Case]


def cn_temperature(expected: Sequence[Expectation], cn: NDArray[np.int64]) -> float:
    """Return the temperature that gives the true coordination numbers the highest likelihood.

    Parameters
    ----------
    expected
        For each view what blind members expect of all sites.
    cn
        (sites,) true classes.
    """
    logits = join(expected).cn
    truth = torch.from_numpy(np.tile(cn, len(expected)))
    trials = np.geomspace(0.5, 3.0, 26)
    losses = [float(torch.nn.functional.cross_entropy(logits / t, truth)) for t in trials]
    return float(trials[int(np.argmin(losses))])


def nearest_distances(atoms: Tensor, species: Sequence[str]) -> dict[str, float]:
    """Return the least distance that atoms of each pair of species keep, Å, a little lowered.

    Parameters
    ----------
    atoms
        (n, atoms, 3 + species) of the training clusters.
    species
        Vocabulary.
    """
    positions, kinds = atoms[..., :3], atoms[..., 3:] > KIND_SCALE / 2
    apart = torch.cdist(positions, positions)
    apart.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    out = {}
    for a, b in combinations_with_replacement(range(len(species)), 2):
        pair = kinds[:, :, None, a] & kinds[:, None, :, b]
        closest = torch.where(pair, apart, torch.inf).amin((1, 2))
        name = "-".join(sorted((species[a], species[b])))
        out[name] = round(CLOSER * float(closest.quantile(0.001)), 3)
    return out


def explained_scale(
    answers: Sequence[Inversion], scatters: Sequence[float]
) -> dict[str, float | list[float]]:
    """Give the misfits of most answers, and what few misfits and scatters exceed.

    Parameters
    ----------
    answers, scatters
        Answers to whole spectra of single sites, and how far the descriptors of each were expected
        to scatter. `FALSE_ALARMS` of them, at most, exceed one of the two; `MISFIT_ALARMS` the
        misfit.
    """
    misfits, told = np.array([a.misfit for a in answers]), np.array(scatters)
    most = float(np.quantile(misfits, 1 - MISFIT_ALARMS, method="higher"))
    left = np.sort(told[misfits <= most])
    room = int(FALSE_ALARMS * len(misfits)) - int((misfits > most).sum())
    return {
        "misfit": most,
        "scatter": float(left[-1 - room]),
        "usual": np.quantile(misfits, USUAL).tolist(),
    }


def outlier_scale(answers: Sequence[Inversion]) -> dict[str, float]:
    """Give the usual misfit, and the score that few spectra of held-out families exceed.

    Parameters
    ----------
    answers
        Answers to whole spectra, by a model whose card takes a misfit of 1 as usual.
    """
    usual = float(np.median([a.misfit for a in answers]))
    scores = [outlier.score(a.ood_score, 1.0, usual=usual) for a in answers]
    return {"misfit": usual, "threshold": float(np.quantile(scores, 1 - FALSE_ALARMS))}


def questions(
    sites: Sequence[Site], conditions: Sequence[InputCondition], *, seed: int
) -> Iterator[Question]:
    """Return the spectra under each condition that normalisation lets pass."""
    for kind in conditions:
        for case in cases(sites, condition=kind, seed=seed):
            if not isinstance(case.spectrum, Rejected):
                yield case.spectrum, case


def distant_questions(
    sites: Sequence[Site], *, seed: int, residuals: Array | None
) -> Iterator[Question]:
    """Return spectra as far from the calculation as measurements are."""
    seen = distant_spectra(sites, seed=seed, residuals=residuals)
    for site, spectrum in zip(sites, seen, strict=True):
        if not isinstance(spectrum, Rejected):
            case = Case(sites=(site,), condition=InputCondition.MEASURED, spectrum=spectrum)
            yield spectrum, case


def mixtures(sites: Sequence[Site], count: int, *, seed: int) -> Iterator[Question]:
    """Return the measured averages over two to eight unlike sites of one absorber and edge."""
    rng = np.random.default_rng([seed, 3])
    bonded = [site for site in sites if site.cn]
    edges = sorted({(s.absorber, s.edge) for s in bonded})
    for number in range(count):
        own = [s for s in bonded if (s.absorber, s.edge) == edges[number % len(edges)]]
        # rare coordination numbers more often than they occur, so that they are in it
        common = Counter(s.cn for s in own)
        odds = np.array([common[s.cn] ** -0.5 for s in own])
        size = int(rng.integers(2, min(MOST_AVERAGED, len(own)) + 1))
        mixed = [own[k] for k in rng.choice(len(own), size, replace=False, p=odds / odds.sum())]
        seen = normalise_xanes(measure(average([s.spectrum for s in mixed]), rng=rng))
        if not isinstance(seen, Rejected):
            yield seen, Case(sites=tuple(mixed), condition=InputCondition.MEASURED, spectrum=seen)


def ask(inverter: Inverter, asked: Sequence[Question], *, samples: int) -> list[Inversion]:
    """Return the answers to the questions, each with the seed of its place."""
    spectra = [spectrum for spectrum, _ in asked]
    return inverter.invert(spectra, seeds=range(len(spectra)), samples=samples)


def reweigh(
    inverter: Inverter,
    asked: Sequence[Question],
    answers: Sequence[Inversion],
    *,
    sharpness: float,
) -> list[Inversion]:
    """Weigh the samples of unweighted answers by how well they agree with their spectra."""
    return [
        replace(
            answer,
            samples=reweighted(
                answer.samples,
                inverter.compare(spectrum, answer.samples).weights(sharpness),
            ),
        )
        for answer, (spectrum, _) in zip(answers, asked, strict=True)
    ]


def sharpness(inverter: Inverter, asked: Sequence[Question], answers: Sequence[Inversion]) -> float:
    """Give the power of the forward likelihood that brings the samples closest to the truth.

    Parameters
    ----------
    inverter
        An inverter whose card gives the samples equal weights.
    asked, answers
        Questions with known truth and the answers to them.
    """
    return min(
        SHARPNESSES,
        key=lambda power: _strayed(asked, reweigh(inverter, asked, answers, sharpness=power)),
    )


def _strayed(asked: Sequence[Question], answers: Sequence[Inversion]) -> float:
    """Return the mean relative error of the samples' mean bond and coordination number."""
    errors = []
    for answer, (_, case) in zip(answers, asked, strict=True):
        site, samples = case.sites[0], answer.samples
        if not site.cn:
            continue
        cluster = (site.absorber, samples.species, samples.positions)
        bond = geometry.mean_bond(site.absorber, site.species, site.positions)
        apart = np.abs(geometry.mean_bond(*cluster) / bond - 1)
        apart = apart + np.abs(geometry.coordination(*cluster) / site.cn - 1)
        errors.append(float(samples.weights @ np.nan_to_num(apart, nan=1.0)))
    return float(np.mean(errors))


def calibrate(
    inverter: Inverter, asked: Sequence[Question], answers: Sequence[Inversion]
) -> dict[str, Any]:
    """Fit the calibration of the estimates, as plain numbers for the card."""
    heads = [inverter.head(spectrum) for spectrum, _ in asked]
    fitted = fit_calibration(
        [a.samples for a in answers], [case.sites[0] for _, case in asked], heads=heads
    )
    weight = inverter.calibration.shares_weight
    return replace(fitted, shares_weight=weight).to_dict()


def calibrate_mean(
    inverter: Inverter, asked: Sequence[Question], answers: Sequence[Inversion]
) -> dict[str, Any]:
    """Fit the interval of the mean CN, of all absorbers and of each, as entries of the card.

    Parameters
    ----------
    inverter
        Model whose other estimates are calibrated.
    asked, answers
        Measured single sites and `mixtures`, and the answers to them by a model whose other
        estimates are calibrated.
    """
    pairs = [
        (
            averaged_distribution(
                answer.estimates.cn_prob,
                calibration=inverter.calibration,
                head=inverter.head(spectrum),
            ),
            case.sites,
        )
        for answer, (spectrum, case) in zip(answers, asked, strict=True)
        if all(site.cn for site in case.sites)
    ]
    own = {
        absorber: asdict(_fit_mean([pair for pair in pairs if pair[1][0].absorber == absorber]))
        for absorber in sorted({sites[0].absorber for _, sites in pairs})
    }
    return {"cn_mean": asdict(_fit_mean(pairs)), "cn_mean_of": own}


def _fit_mean(pairs: Sequence[tuple[Array, tuple[Site, ...]]]) -> Widening:
    return fit_mean([prob for prob, _ in pairs], [sites for _, sites in pairs])


def figures(asked: Sequence[Question], answers: Sequence[Inversion]) -> dict[str, Any]:
    """Return the accuracy by input condition."""
    out: dict[str, Any] = {}
    for kind in dict.fromkeys(case.condition for _, case in asked):
        scores = [
            score(answer_of(a.samples, a.estimates, absorber=a.absorber), truth_of(case.sites))
            for a, (_, case) in zip(answers, asked, strict=True)
            if case.condition is kind
        ]
        out[str(kind.value)] = summarise(scores)
    return out
