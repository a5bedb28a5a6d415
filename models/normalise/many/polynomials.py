"""Least-squares polynomials through a window of each of many spectra, by orthogonal polynomials."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearedge.models.spectrum import Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowWindows:
    """A run of points of each spectrum.

    Attributes
    ----------
    at
        (p, w) indices of points, those beyond a window repeated.
    inside
        (p, w) which of them lie in the window.
    """

    at: NDArray[np.intp]
    inside: NDArray[np.bool_]

    @classmethod
    def between(cls, begin: NDArray[np.intp], end: NDArray[np.intp], *, size: int) -> "RowWindows":
        """Return windows from ``begin`` (p,) to before ``end`` (p,) of ``size`` points."""
        count = end - begin
        step = np.arange(max(int(count.max(initial=1)), 1))
        return cls(at=np.minimum(begin[:, None] + step, size - 1), inside=step < count[:, None])

    @property
    def count(self) -> NDArray[np.intp]:
        """Points of each window, (p,)."""
        return np.asarray(self.inside.sum(axis=1))


class Polynomials:
    """Orthogonal polynomials on windows, built by Forsythe's recurrence.

    Parameters
    ----------
    x
        (p, w) abscissae of the points of the windows.
    inside
        (p, w) which of them count.
    degree
        (p,) of the polynomial that is fitted to each window, below the number of its points.
    """

    def __init__(self, x: Array, inside: NDArray[np.bool_], degree: NDArray[np.intp]) -> None:
        reach = np.abs(np.where(inside, x, 0.0)).max(axis=1)
        self._scale = np.where(reach > 0, reach, 1.0)
        x = x / self._scale[:, None]
        self._shift, self._ratio = [], []
        basis = [inside.astype(float)]
        before, norm_before = np.zeros_like(x), np.ones(len(x))
        self._norms = [np.maximum((basis[0] ** 2).sum(axis=1), 1.0)]
        for k in range(int(degree.max(initial=0))):
            now, norm = basis[-1], self._norms[-1]
            shift = (x * now**2).sum(axis=1) / norm
            ratio = norm / norm_before if k else np.zeros(len(x))
            following = (x - shift[:, None]) * now - ratio[:, None] * before
            following *= inside & (k < degree)[:, None]
            before, norm_before = now, norm
            self._shift.append(shift)
            self._ratio.append(ratio)
            basis.append(following)
            self._norms.append(np.where(k < degree, (following**2).sum(axis=1), 1.0))
        self._basis = basis
        self._used = [np.asarray(k <= degree) for k in range(len(basis))]

    def fit(self, y: Array) -> list[Array]:
        """Return the coefficients of the polynomials through ``y`` (p, w), each (p,)."""
        return [
            np.where(used, (each * y).sum(axis=1) / norm, 0.0)
            for used, each, norm in zip(self._used, self._basis, self._norms, strict=True)
        ]

    def at(self, x: Array, coefficients: list[Array]) -> Array:
        """Return values (p, m) at abscissae (p, m)."""
        values = self._values(x / self._scale[:, None])
        return sum(
            (c[:, None] * value for c, value in zip(coefficients, values, strict=True)),
            np.zeros(x.shape),
        )

    def weights(self, x: Array) -> Array:
        """Return what each point (p, w) counts in the polynomial's value at ``x`` (p,)."""
        out = np.zeros(self._basis[0].shape)
        values = self._values((x / self._scale)[:, None])
        for used, each, norm, value in zip(
            self._used, self._basis, self._norms, values, strict=True
        ):
            out += np.where(used, value[:, 0] / norm, 0.0)[:, None] * each
        return out

    def _values(self, x: Array) -> list[Array]:
        out, before = [np.ones(x.shape)], np.zeros(x.shape)
        for shift, ratio in zip(self._shift, self._ratio, strict=True):
            now = out[-1]
            out.append((x - shift[:, None]) * now - ratio[:, None] * before)
            before = now
        return out
