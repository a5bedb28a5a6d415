"""The calculated spectra of other absorbers: every part can be read and holds what it should."""

from pathlib import Path

import numpy as np
import pytest

from nearedge.models.clusters.geometry import covalent_radii
from nearedge.models.data.dataset import read_dataset
from nearedge.sim.dataset import split_of
from nearedge.sim.prototypes import read_formulas

DATA = Path(__file__).parents[2] / "benchmarks" / "data"
PARTS = sorted(DATA.glob("any-*.parquet"))


def test_parts_are_numbered_without_a_gap():
    assert [p.name for p in PARTS] == [f"any-{k:02}.parquet" for k in range(1, len(PARTS) + 1)]
    assert sum(p.stat().st_size for p in PARTS) < 60e6


def family_of(site):
    """A site's family; crystals that were made are all to be learned from, as this one is."""
    return "alloy" if site.group == "built" else site.family


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.stem)
def test_a_part_holds_plausible_sites_in_the_splits_of_their_names(path):
    sites = read_dataset(path)
    for site in sites:
        assert site.split == split_of(family_of(site), {}, prototype=site.prototype)
        assert site.mu.shape == site.energy.shape == site.mu0.shape
        assert (np.diff(site.energy) > 0).all()
        assert -0.2 < site.mu.min() < 0.7
        assert site.mu.max() < 12
        assert (np.diff(np.linalg.norm(site.positions, axis=1)) > -1e-3).all()
        assert {site.absorber, *site.species} <= covalent_radii().keys()
        assert site.edge == "K"


def test_no_site_is_in_two_parts_and_no_measured_compound_in_any():
    reserved = read_formulas(DATA / "measured-compounds.txt")
    assert len(reserved) > 80
    ids = []
    for path in PARTS:
        sites = read_dataset(path)
        ids += [site.id for site in sites]
        assert not {site.formula for site in sites} & reserved
    assert len(set(ids)) == len(ids)


def test_held_out_prototypes_are_in_no_other_split():
    sites = read_dataset(PARTS)
    test, other = (
        {s.prototype for s in sites if (s.split == "test") is wanted and s.prototype}
        for wanted in (True, False)
    )
    held_out = test - other
    assert len(held_out) > 10
    families = {s.family for s in sites if s.prototype in held_out}
    assert not families & {s.family for s in sites if s.split != "test"}
