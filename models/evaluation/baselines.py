"""Simple methods that a model must beat: template matching and extremely randomised trees.

Both read a spectrum on the model's own grid, are fitted to cases of the training split under the
same input condition, and answer in the same form, so that the same figures apply.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from nearedge.models.answering.estimate import STATED_CN_CLASSES
from nearedge.models.clusters import geometry
from nearedge.models.data.dataset import Site
from nearedge.models.data.instruments import Case
from nearedge.models.evaluation.answers import ScoredAnswer
from nearedge.models.inversion import Interval, Samples
from nearedge.models.parts.condition import Condition, condition
from nearedge.models.spectrum import Array, NormalisedSpectrum

_BONDS = 12  # sorted distances that the trees predict
_LEVELS = (np.arange(15) + 0.5) / 15  # of the bond angles' distribution that the trees predict


class Baseline(Protocol):
    """A fitted method."""

    def answer(self, spectrum: NormalisedSpectrum) -> ScoredAnswer:
        """Say what surrounds the absorber."""
        ...


def _certain(value: float) -> Interval | None:
    """Wrap a point prediction: an interval without width, None where there is no value."""
    return None if np.isnan(value) else Interval(mean=value, lo=value, hi=value)


def samples_of(sites: Sequence[Site]) -> Samples:
    """Put the clusters of sites beside each other, the smaller ones padded with nameless atoms."""
    most = max(len(site.species) for site in sites)
    species = np.full((len(sites), most), "", dtype="<U2")
    positions = np.zeros((len(sites), most, 3), np.float32)
    for k, site in enumerate(sites):
        species[k, : len(site.species)] = site.species
        positions[k, : len(site.species)] = site.positions
    return Samples(
        species=species, positions=positions, weights=np.full(len(sites), 1 / len(sites))
    )


def _answer_with(sites: Sequence[Site]) -> ScoredAnswer:
    absorber, samples = sites[0].absorber, samples_of(sites)
    cluster = (absorber, samples.species, samples.positions)
    cn = geometry.coordination(*cluster)
    vocabulary = sorted({str(s) for s in np.unique(samples.species) if s})
    return ScoredAnswer(
        cn_mean=float(cn.mean()),
        cn_map=int(np.bincount(cn).argmax()),
        cn_set=(),
        bond=_certain(float(geometry.nanmean(geometry.mean_bond(*cluster)))),
        bridge=_certain(float(geometry.nanmean(geometry.bridge(*cluster)))),
        weights=samples.weights,
        sample_cn=cn,
        bonds=geometry.shell_bonds(*cluster),
        angles=geometry.shell_angles(*cluster),
        rdf=geometry.radial_distribution(
            samples.species, samples.positions, vocabulary=vocabulary, r=geometry.rdf_grid()
        ),
        samples=samples,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Templates:
    """Template matching: the answer is the cluster of the nearest training spectrum.

    Attributes
    ----------
    values, masks
        (spectra, g) on the model's grid, and where they were measured.
    sites
        The sites that each spectrum came from.
    """

    values: Array
    masks: Array
    sites: tuple[tuple[Site, ...], ...]

    def nearest(self, question: Condition) -> int:
        """Return the index of the spectrum that differs least where both are known."""
        both = self.masks * question.mask
        squares = both * (self.values - question.values) ** 2
        return int((squares.sum(1) / np.maximum(both.sum(1), 1)).argmin())

    def answer(self, spectrum: NormalisedSpectrum) -> ScoredAnswer:
        """Return a `ScoredAnswer` with the cluster of the nearest spectrum."""
        return _answer_with(self.sites[self.nearest(condition(spectrum))])


def _read(cases: Sequence[Case]) -> list[tuple[Condition, tuple[Site, ...]]]:
    return [
        (condition(case.spectrum), case.sites)
        for case in cases
        if isinstance(case.spectrum, NormalisedSpectrum)
    ]


def fit_templates(cases: Sequence[Case]) -> Templates:
    """Keep the spectra of the training cases and their clusters; one absorber and edge a library.

    Raises
    ------
    ValueError
        If no case has a spectrum.
    """
    rows = _read(cases)
    if not rows:
        raise ValueError("found no normalised spectrum to match with; pass cases of `train`")
    return Templates(
        values=np.array([c.values for c, _ in rows], np.float64),
        masks=np.array([c.mask for c, _ in rows], np.float64),
        sites=tuple(sites for _, sites in rows),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trees:
    """Extremely randomised trees (Geurts et al. 2006) from the spectrum to each figure.

    Attributes
    ----------
    cn
        Classifier of the coordination number.
    bonds, angles, bond, bridge, rdf
        Regressors of the sorted distances, the bond angles' quantiles, the mean bond, the
        second-shell figure and the radial distributions.
    species
        Order of the radial distributions.
    """

    cn: Any
    bonds: Any
    angles: Any
    bond: Any
    bridge: Any
    rdf: Any
    species: tuple[str, ...]

    def answer(self, spectrum: NormalisedSpectrum) -> ScoredAnswer:
        """Predict every figure; there are no clusters."""
        x = _features(condition(spectrum))[None]
        prob = _class_probabilities(self.cn, x)
        cn = int(prob.argmax())
        pairs = cn * (cn - 1) // 2
        levels = (np.arange(pairs) + 0.5) / max(pairs, 1)
        return ScoredAnswer(
            cn_mean=float(prob @ np.arange(STATED_CN_CLASSES)),
            cn_map=cn,
            cn_set=(),
            bond=_certain(_predict(self.bond, x)[0]),
            bridge=_certain(_predict(self.bridge, x)[0]),
            weights=np.ones(1),
            sample_cn=np.array([cn]),
            bonds=_predict(self.bonds, x)[None, :cn],
            angles=np.interp(levels, _LEVELS, _predict(self.angles, x))[None],
            rdf=self._rdf(x),
        )

    def _rdf(self, x: Array) -> dict[str, Array]:
        curves = _predict(self.rdf, x).reshape(len(self.species), -1)
        return dict(zip(self.species, curves, strict=True))


def _features(read: Condition) -> Array:
    return np.concatenate([read.values, read.mask]).astype(np.float64)


def _predict(trees: Any, x: Array) -> Array:
    return np.full(1, np.nan) if trees is None else np.atleast_1d(np.squeeze(trees.predict(x)))


def _class_probabilities(trees: Any, x: Array) -> Array:
    prob = np.zeros(STATED_CN_CLASSES)
    prob[trees.classes_] = trees.predict_proba(x)[0]
    return prob


def _shortest(site: Site) -> Array:
    lengths = np.sort(geometry.distances(site.positions))[:_BONDS]
    return np.pad(lengths, (0, _BONDS - len(lengths)), mode="edge")


def _angle_levels(site: Site) -> Array:
    angles = geometry.shell_angles(site.absorber, site.species, site.positions)
    return np.quantile(angles, _LEVELS) if angles.size else np.full(len(_LEVELS), np.nan)


def _curves(site: Site, species: Sequence[str]) -> Array:
    curves = geometry.radial_distribution(
        site.species, site.positions, vocabulary=species, r=geometry.rdf_grid()
    )
    return np.concatenate([curves[symbol] for symbol in species])


def check_trees() -> None:
    """Find scikit-learn, which grows the trees.

    Raises
    ------
    ModuleNotFoundError
        If it is not installed.
    """
    if find_spec("sklearn") is None:
        raise ModuleNotFoundError(
            "trees need scikit-learn: pip install 'nearedge[evaluate]'", name="sklearn"
        )


def _regressor(x: Array, y: Array, *, trees: int, seed: int) -> Any:
    """Fit one forest to the rows whose target is defined; None where there is none."""
    from sklearn.ensemble import ExtraTreesRegressor

    known = np.isfinite(y.reshape(len(y), -1)).all(1)
    if not known.any():
        return None
    forest = ExtraTreesRegressor(trees, max_features=0.5, random_state=seed)
    return forest.fit(x[known], y[known])


def _classifier(x: Array, y: np.ndarray, *, trees: int, seed: int) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(trees, max_features=0.5, random_state=seed).fit(x, y)


def fit_trees(cases: Sequence[Case], *, trees: int = 200, seed: int = 0) -> Trees:
    """Fit trees to the training cases of one absorber and edge; every true site is one row.

    Parameters
    ----------
    cases
        Spectra and their sites; rejected ones are passed over.
    trees
        The number of trees in each forest.
    seed
        The seed of the forests.

    Raises
    ------
    ValueError
        If no case has a spectrum.
    """
    rows = [(_features(read), site) for read, sites in _read(cases) for site in sites]
    if not rows:
        raise ValueError("found no normalised spectrum to learn from; pass cases of `train`")
    x, sites = np.array([features for features, _ in rows]), [site for _, site in rows]
    species = tuple(sorted({str(symbol) for site in sites for symbol in site.species}))

    def regressor(targets: Sequence[Any]) -> Any:
        return _regressor(x, np.array(targets, np.float64), trees=trees, seed=seed)

    clusters = [(s.absorber, s.species, s.positions) for s in sites]
    return Trees(
        cn=_classifier(
            x, np.array([min(s.cn, STATED_CN_CLASSES - 1) for s in sites]), trees=trees, seed=seed
        ),
        bonds=regressor([_shortest(s) for s in sites]),
        angles=regressor([_angle_levels(s) for s in sites]),
        bond=regressor([geometry.mean_bond(*c) for c in clusters]),
        bridge=regressor([geometry.bridge(*c) for c in clusters]),
        rdf=regressor([_curves(s, species) for s in sites]),
        species=species,
    )
