"""The crystals of alloys that `benchmarks/ordered_alloys.py` makes."""

from itertools import islice

import numpy as np
import pytest

from benchmarks.ordered_alloys import KINDS, METALS, OTHERS, alloy, alloys, volume_of
from nearedge.models.clusters.geometry import coordination
from nearedge.sim.dataset import split_of
from nearedge.sim.prototypes import formula_of, prototype_of
from nearedge.sim.sites import cluster_around, unique_sites


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("CsCl", {"Ni": {8}, "Al": {8}}),
        ("Cu3Au", {"Ni": {12}, "Al": {12}}),
        ("AlFe3", {"Ni": {8}, "Al": {8}}),
        ("Ni3Sn", {"Ni": {12}, "Al": {12}}),
        ("Cr3Si", {"Ni": {12}}),
    ],
)
def test_metals_have_the_neighbours_of_their_kind_of_alloy(kind, expected):
    found = alloy(KINDS[kind], ("Ni", "Al"), rng=np.random.default_rng(0))
    for metal, numbers in expected.items():
        around = [cluster_around(found, site) for site in unique_sites(found, metal)]
        told = {
            int(coordination(metal, np.array([c.species]), c.positions[None])[0]) for c in around
        }
        assert told == numbers
    volume = sum(volume_of(site.specie.symbol) for site in found)
    assert 0.94 <= found.volume / volume <= 1.04


def test_nothing_that_is_held_out_is_made():
    first = dict(islice(alloys(frozenset(), rng=np.random.default_rng(3)), 12))
    left_out = frozenset(formula_of(structure) for structure in list(first.values())[:4])
    again = dict(islice(alloys(left_out, rng=np.random.default_rng(3)), 12))
    assert not left_out & {formula_of(structure) for structure in again.values()}
    for structure in again.values():
        assert split_of("alloy", {}, prototype=prototype_of(structure)) != "test"
        assert {site.specie.symbol for site in structure} <= {*METALS, *OTHERS}
