"""Two simple methods that answer for measured standards, to be beaten.

The nearest calculated spectrum of the same edge lends its CN and bond. Trees learn from the
measured scans themselves, each compound left out in turn.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from nearedge.models.clusters.geometry import covalent_radii, mean_bond
from nearedge.models.data.dataset import Site
from nearedge.models.evaluation.standards import Standard, StandardAnswer
from nearedge.models.normalise.xanes import normalise_xanes
from nearedge.models.parts.condition import Condition, condition
from nearedge.models.spectrum import Array, NormalisedSpectrum, Rejected

#: Points that two spectra must share to be compared.
LEAST_SHARED = 40
TREES = 200
NEAREST, LEARNED = "nearest calculated spectrum", "trees on measured scans, compound left out"


def nearest_calculated(
    standards: Sequence[Standard],
    spectra: Mapping[str, NormalisedSpectrum],
    sites: Sequence[Site],
) -> dict[str, StandardAnswer | str]:
    """Return for each file the surroundings of the most similar calculated spectrum.

    Parameters
    ----------
    standards, spectra
        The scans, and those of them that could be normalised, by file.
    sites
        Calculated sites, of any absorber.
    """
    wanted = {(one.absorber, one.edge) for one in standards}
    references = [
        (site, read)
        for site in sites
        if (site.absorber, site.edge) in wanted and (read := _calculated(site)) is not None
    ]
    return {one.file: _nearest(one, spectra.get(one.file), references) for one in standards}


def _calculated(site: Site) -> Condition | None:
    found = normalise_xanes(site.spectrum)
    return None if isinstance(found, Rejected) else condition(found)


def _nearest(
    one: Standard,
    spectrum: NormalisedSpectrum | None,
    references: Sequence[tuple[Site, Condition]],
) -> StandardAnswer | str:
    if spectrum is None:
        return "rejected"
    read = condition(spectrum)
    same = [
        (site, other)
        for site, other in references
        if (site.absorber, site.edge) == (one.absorber, one.edge)
    ]
    if not same:
        return "unsupported"
    site, _ = min(same, key=lambda pair: _apart(read, pair[1]))
    bond = float(mean_bond(site.absorber, site.species, site.positions))
    return StandardAnswer(cn=float(site.cn), bond=bond)


def _apart(a: Condition, b: Condition) -> float:
    """Return the root-mean-square difference where both are known."""
    both = (a.mask * b.mask).astype(bool)
    if both.sum() < LEAST_SHARED:
        return float("inf")
    return float(np.sqrt(np.mean((a.values[both] - b.values[both]) ** 2)))


def trees_left_out(
    standards: Sequence[Standard], spectra: Mapping[str, NormalisedSpectrum]
) -> dict[str, StandardAnswer | str]:
    """Return for each file what trees say that learned from the scans of all other compounds."""
    from sklearn.ensemble import ExtraTreesRegressor

    known = [one for one in standards if one.file in spectra]
    seen = np.array([_features(one, spectra[one.file]) for one in known])
    truth = np.array([[one.cn, one.bond] for one in known])
    names = np.array([one.compound for one in known])
    answers: dict[str, StandardAnswer | str] = {one.file: "rejected" for one in standards}
    for name in np.unique(names) if len(set(names)) > 1 else ():
        left_out = names == name
        trees = ExtraTreesRegressor(TREES, random_state=0).fit(seen[~left_out], truth[~left_out])
        for one, (cn, bond) in zip(
            [one for one in known if one.compound == name],
            trees.predict(seen[left_out]),
            strict=True,
        ):
            answers[one.file] = StandardAnswer(cn=float(cn), bond=float(bond))
    return answers


def _features(one: Standard, spectrum: NormalisedSpectrum) -> Array:
    """Return the values on the grid, 1 past the last, and the size of the absorber."""
    read = condition(spectrum)
    number = list(covalent_radii()).index(one.absorber)
    values = np.where(read.mask > 0, read.values, 1.0)
    return np.array([*values, number, covalent_radii()[one.absorber]])
