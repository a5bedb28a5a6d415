"""A spectrum as a sum of end members: the linear combination fit, without the model."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from nearedge.models.comparing.common import (
    RANGE,
    Common,
    CompareError,
    NamedSpectrum,
    flat_at,
    on_common_energies,
)
from nearedge.models.normalise.evidence import noise
from nearedge.models.spectrum import Array, freeze_arrays

MOST_FITS = 50_000
"""Subsets of end members that are tried at most."""
SHOWN = 16
"""Subsets that are kept, the best."""
LEAST_WEIGHT = 0.0005
"""A member below this is not in a fit (Larch's limit)."""
_STEP = 0.25  # eV between the shifts that are tried first
_AT_BOUND = 1e-3  # eV


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Combination:
    """A spectrum fitted by a sum of end members.

    Attributes
    ----------
    members
        Names of the end members.
    energy
        (g,) eV.
    target
        (g,) the spectrum, flattened, its energies shifted by ``shift``.
    parts
        (k, g) each member times its weight.
    weights
        (k,) not negative.
    covariance
        (k, k) of the weights, from the residual; zeros for a member whose weight is 0.
    shift
        eV that were added to the energies of the spectrum; 0 where none was asked for.
    to_one
        Whether the weights were made to add up to 1.
    free
        Points less what was fitted.
    noise
        Standard deviation of one point of the spectrum, from its neighbours, edge steps.
    """

    members: tuple[str, ...]
    energy: Array
    target: Array
    parts: Array
    weights: Array
    covariance: Array
    shift: float
    to_one: bool
    free: int
    noise: float

    def __post_init__(self) -> None:
        freeze_arrays(self)

    @property
    def fit(self) -> Array:
        """(g,) the sum of the parts."""
        return np.asarray(self.parts.sum(axis=0))

    @property
    def residual(self) -> Array:
        """(g,) the spectrum less the fit."""
        return self.target - self.fit

    @property
    def errors(self) -> Array:
        """(k,) standard deviations of the weights; NaN for a weight that is 0, at its bound.

        They follow from the residual as if neighbouring points erred independently, as Larch's and
        Athena's do. Where the members do not describe the spectrum, they are too small.
        """
        return np.where(self.weights > 0, np.sqrt(np.diag(self.covariance)), np.nan)

    @property
    def total(self) -> float:
        """Sum of the weights; where it is free, it tells how well the members do."""
        return float(self.weights.sum())

    @property
    def total_error(self) -> float:
        """Standard deviation of the sum."""
        return float(np.sqrt(max(self.covariance.sum(), 0.0)))

    @property
    def chi_square(self) -> float:
        """Sum of squares of the residual, every point with the weight 1."""
        return float((self.residual**2).sum())

    @property
    def reduced_chi_square(self) -> float:
        """The same over `free`: Larch's and Athena's."""
        return self.chi_square / self.free

    @property
    def r_factor(self) -> float:
        """The same over the sum of squares of the spectrum."""
        return self.chi_square / float((self.target**2).sum())

    @property
    def misfit(self) -> float:
        """Root-mean-square residual, edge steps."""
        return float(np.sqrt((self.residual**2).mean()))

    def at_bound(self, most_shift: float) -> bool:
        """Return whether the spectrum would be shifted farther than it was allowed to be, eV."""
        return most_shift > 0 and abs(self.shift) > most_shift - _AT_BOUND


def combine(
    target: NamedSpectrum,
    members: Sequence[NamedSpectrum],
    *,
    span: tuple[float, float] = RANGE,
    to_one: bool = False,
    most_shift: float = 0.0,
) -> Combination:
    """Fit a spectrum by a sum of end members with weights that are not negative.

    The flattened spectra are fitted on the energies of the target, every point with the same
    weight. Their sum is free unless ``to_one``. No spectrum is shifted by itself: what each edge's
    place tells would be lost. ``most_shift`` allows one shift for all members together, for two
    monochromators that do not agree.

    Parameters
    ----------
    target
        What is fitted.
    members
        End members of the same edge, none of them a mixture of the others.
    span
        eV from the e0 of the target.
    to_one
        Whether the weights add up to 1.
    most_shift
        eV by which the target may be shifted at most, both ways; 0: not at all.

    Raises
    ------
    CompareError
        If the edges differ, the energies do not overlap, or two members are alike.
    """
    found = _common(target, members, span, most_shift)
    return _fitted(found, target, members, to_one=to_one, most_shift=most_shift)


def best_combinations(
    target: NamedSpectrum,
    members: Sequence[NamedSpectrum],
    *,
    span: tuple[float, float] = RANGE,
    most: int | None = None,
    to_one: bool = False,
    most_shift: float = 0.0,
) -> list[Combination]:
    """Fit a spectrum by every subset of the end members, and return the best fits.

    All are fitted on the same energies. They are sorted by reduced chi-square, the best first; a
    fit in which a member has no weight is left out, since it is that of a smaller subset.

    Parameters
    ----------
    target, members, span, to_one, most_shift
        As of `combine`.
    most
        Members of a subset at most; None: all of them.

    Raises
    ------
    CompareError
        As of `combine`, and if there are too many subsets.
    """
    most = len(members) if most is None else min(most, len(members))
    count = sum(comb(len(members), size) for size in range(1, most + 1))
    if not 1 <= count <= MOST_FITS:
        raise CompareError(
            f"found {count} subsets of up to {most} of {len(members)} end members; expected 1 to "
            f"{MOST_FITS}: name fewer members, or try smaller subsets"
        )
    found = _common(target, members, span, most_shift)
    fits = []
    for chosen in _subsets(len(members), most):
        some = Common(energy=found.energy, flat=found.flat[[0, *(k + 1 for k in chosen)]])
        names = [members[k] for k in chosen]
        one = _fitted(some, target, names, to_one=to_one, most_shift=most_shift)
        if (one.weights > LEAST_WEIGHT).all():
            fits.append(one)
    return sorted(fits, key=lambda one: one.reduced_chi_square)[:SHOWN]


def _subsets(count: int, most: int) -> Iterator[tuple[int, ...]]:
    for size in range(1, most + 1):
        yield from combinations(range(count), size)


def _common(
    target: NamedSpectrum,
    members: Sequence[NamedSpectrum],
    span: tuple[float, float],
    most_shift: float,
) -> Common:
    if not members:
        raise CompareError("found no end member; expected at least one")
    found = on_common_energies([target, *members], span=span, margin=most_shift)
    if len(found.energy) <= len(members) + 1:
        raise CompareError(
            f"found {len(found.energy)} energies for {len(members)} end members; expected more "
            "energies than members: name fewer"
        )
    check_members(found.flat[1:], [one.name for one in members])
    return found


def check_members(flat: Array, names: Sequence[str]) -> None:
    """Raise `CompareError` if an end member (k, g) is a copy or a mixture of those before it."""
    for k in range(1, len(flat) + 1):
        if np.linalg.matrix_rank(flat[:k]) < k:
            raise CompareError(
                f"{names[k - 1]} is the same as another end member, or a mixture of others: "
                "leave it out"
            )


def _fitted(
    found: Common,
    target: NamedSpectrum,
    members: Sequence[NamedSpectrum],
    *,
    to_one: bool,
    most_shift: float,
) -> Combination:
    design = found.flat[1:].T

    def shifted(shift: float) -> Array:
        return found.flat[0] if shift == 0 else flat_at(target.spectrum, found.energy - shift)

    def square(shift: float) -> float:
        y = shifted(shift)
        return float(((y - design @ weights_of(design, y, to_one=to_one)) ** 2).sum())

    shift = _best_shift(square, most_shift) if most_shift else 0.0
    y = shifted(shift)
    weights = weights_of(design, y, to_one=to_one)
    free = len(y) - design.shape[1] + to_one - bool(most_shift)
    left = float(((y - design @ weights) ** 2).sum())
    return Combination(
        members=tuple(one.name for one in members),
        energy=found.energy,
        target=y,
        parts=design.T * weights[:, None],
        weights=weights,
        covariance=left / free * _spread(design, weights > 0, to_one=to_one),
        shift=shift,
        to_one=to_one,
        free=free,
        noise=noise(target.spectrum.energy, target.spectrum.flat),
    )


def weights_of(design: Array, y: Array, *, to_one: bool) -> Array:
    """Return the weights (k,) that are not negative and fit y (g,) best by a design (g, k).

    On weights that add up to 1, ``|X w - y|`` is ``|Z w|`` with ``Z = X - y 1'``. The direction of
    the least ``|Z w|^2 + (1'w - 1)^2`` is that of the least ``|Z w|``, whatever its length.
    """
    from scipy.optimize import nnls  # late: it takes half a second, before each command

    if not to_one:
        return np.asarray(nnls(design, y)[0])
    rows = np.vstack([design - y[:, None], np.ones(design.shape[1])])
    found = nnls(rows, np.append(np.zeros(len(y)), 1.0))[0]
    return np.asarray(found / found.sum())


def _spread(design: Array, inside: np.ndarray, *, to_one: bool) -> Array:
    """Return the covariance (k, k) of the weights for residuals of variance 1."""
    spread = np.zeros((design.shape[1],) * 2)
    directions = np.eye(int(inside.sum()))
    if to_one:  # only along what leaves the sum as it is
        directions = np.linalg.svd(np.ones((1, len(directions))))[2][1:].T
    some = design[:, inside] @ directions
    spread[np.ix_(inside, inside)] = directions @ np.linalg.pinv(some.T @ some) @ directions.T
    return spread


def _best_shift(square: Callable[[float], float], most: float) -> float:
    """Return the shift within bounds that leaves least, eV."""
    from scipy.optimize import minimize_scalar

    tried = np.linspace(-most, most, 2 * max(1, int(np.ceil(most / _STEP))) + 1)
    best = tried[int(np.argmin([square(float(one)) for one in tried]))]
    step = tried[1] - tried[0]
    bounds = (max(best - step, -most), min(best + step, most))
    return float(minimize_scalar(square, bounds=bounds, options={"xatol": 1e-4}).x)
