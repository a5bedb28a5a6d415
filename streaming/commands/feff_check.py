"""Check an answer with FEFF10: the spectrum of its likeliest cluster against the measured one.

The surrogate that weighs the samples has learned from FEFF; this asks FEFF itself. A cluster ends
where the model's knowledge does, some 4 to 5 Å from the absorber, so that even a perfect one does
not give the spectrum of endless matter.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nearedge.models import Inversion, NormalisedSpectrum, Rejected
from nearedge.models.answering.agreement import at_resolution
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.parts.condition import Condition, condition, grid_of
from nearedge.models.spectrum import Array, Spectrum, Technique
from nearedge.streaming.workers.feff import FeffError, calculate, feff_input


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checked:
    """FEFF's spectrum of an answer's likeliest cluster.

    Attributes
    ----------
    sample
        Which of the answer's samples.
    energy, flat
        (n,) eV from half height, and its normalised spectrum.
    misfit
        Root-mean-square difference to the measured spectrum where both are known, edge steps, at
        the resolution that fits best.
    """

    sample: int
    energy: Array
    flat: Array
    misfit: float


def likeliest(answer: Inversion) -> int:
    """Return the index of the sample of largest weight; of equals, one of a middling bond."""
    best = np.flatnonzero(answer.samples.weights >= answer.samples.weights.max() * (1 - 1e-9))
    bond = np.nan_to_num(answer.estimates.sample_bond[best])
    return int(best[np.abs(bond - np.median(bond)).argmin()])


def check(
    answer: Inversion, *, span: tuple[float, float, float], timeout_s: float = 600.0
) -> Checked:
    """Run FEFF10 on the likeliest cluster, about 10 s of one core.

    Parameters
    ----------
    answer
        The answer to check.
    span
        The grid of the model that gave it: first, last and step, eV from half height.
    timeout_s
        Seconds after which FEFF is given up.

    Raises
    ------
    nearedge.streaming.workers.feff.FeffError
        If FEFF is not installed, fails, does not converge, or its spectrum shows no edge.
    """
    number = likeliest(answer)
    calculated = condition(_calculate(answer, number, timeout_s=timeout_s), span=span)
    measured = Condition(
        values=np.nan_to_num(answer.condition).astype(np.float32),
        mask=(np.isfinite(answer.condition) * calculated.mask).astype(np.float32),
    )
    spectra, apart = at_resolution(calculated.values[None], measured, step=span[2])
    return Checked(sample=number, energy=grid_of(span), flat=spectra[0], misfit=float(apart[0]))


def _calculate(answer: Inversion, number: int, *, timeout_s: float) -> NormalisedSpectrum:
    species, positions = answer.samples.species[number], answer.samples.positions[number]
    cards = feff_input(answer.absorber, [str(s) for s in species], positions, edge=answer.edge)
    found = calculate(cards, timeout_s=timeout_s)
    if not found.converged:
        raise FeffError("FEFF's potentials did not become self-consistent for this cluster")
    normalised = normalise_xanes(
        Spectrum(
            energy=found.energy,
            mu=found.mu,
            technique=Technique.XANES,
            absorber=answer.absorber,
            edge=answer.edge,
        )
    )
    if isinstance(normalised, Rejected):
        raise FeffError(f"the cluster's own spectrum was rejected: {normalised.detail}")
    return normalised


def check_all(
    answers: Iterable[tuple[str, Inversion]], *, span: tuple[float, float, float]
) -> Iterator[dict[str, Any]]:
    """Check named answers one after the other; one that FEFF fails on has its ``error``."""
    for name, answer in answers:
        row: dict[str, Any] = {"id": name, "misfit": answer.misfit}
        try:
            found = check(answer, span=span)
        except FeffError as error:
            yield row | {"error": str(error)}
            continue
        yield row | {
            "sample": found.sample,
            "feff_misfit": found.misfit,
            "energy": found.energy.tolist(),
            "flat": np.round(found.flat, 5).tolist(),
        }


def write_report(out: Path, rows: list[dict[str, Any]]) -> Path:
    """Write what was verified beside an output, as JSON; return where."""
    path = out.with_name(f"{out.name}.feff.json")
    path.write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n")
    return path


def in_words(row: dict[str, Any]) -> str:
    """Return one line on a verified answer."""
    if "error" in row:
        return f"{row['id']}: {row['error']}"
    found = f"{row['id']}: misfit {row['feff_misfit']:.3f} by FEFF (sample {row['sample']})"
    if row["misfit"] is None:  # the model has no forward part
        return found
    return f"{found}, {row['misfit']:.3f} by the surrogate"
