import pytest
import xraydb

from nearedge.models.normalise.edges import edge_energy, edge_table, nearest_edge


def test_table_is_that_of_xraydb():
    for absorber, edges in edge_table().items():
        for edge, energy in edges.items():
            assert energy == xraydb.xray_edge(absorber, edge).energy, (absorber, edge)


def test_table_holds_every_element_from_lithium_to_californium():
    assert list(edge_table()) == [xraydb.atomic_symbol(z) for z in range(3, 99)]


@pytest.mark.parametrize(
    ("absorber", "edge", "said"), [("Xx", "K", "no element 'Xx'"), ("Si", "L23", "K, L1, L2, L3")]
)
def test_unknown_edges_name_what_is_known(absorber, edge, said):
    with pytest.raises(KeyError, match=said):
        edge_energy(absorber, edge)


@pytest.mark.parametrize(
    ("e0", "named"), [(1841.0, ("Si", "K")), (7110.0, ("Fe", "K")), (11921.0, ("Au", "L3"))]
)
def test_nearest_edge(e0, named):
    assert nearest_edge(e0) == named
