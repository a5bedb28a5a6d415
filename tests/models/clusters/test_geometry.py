import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.local_env import CutOffDictNN
from pymatgen.analysis.molecule_structure_comparator import CovalentRadius
from pymatgen.core import Lattice, Structure
from scipy.stats import ortho_group

from nearedge.models.clusters import geometry

PAIRS = {("Si", "O"): 2.25, ("Si", "Si"): 2.50, ("O", "O"): 1.80}


def quartz():
    lattice = Lattice.hexagonal(4.9137, 5.4047)
    return Structure.from_spacegroup(
        "P3_221", lattice, ["Si", "O"], [[0.4697, 0, 2 / 3], [0.4135, 0.2669, 0.7858]]
    )


def stishovite():
    lattice = Lattice.tetragonal(4.1801, 2.6678)
    return Structure.from_spacegroup(
        "P4_2/mnm", lattice, ["Si", "O"], [[0, 0, 0], [0.3061, 0.3061, 0]]
    )


def neighbours(structure, site, radius=6.6):
    near = sorted(structure.get_neighbors(structure[site], radius), key=lambda n: n.nn_distance)
    species = np.array([n.specie.symbol for n in near])
    return species, np.array([n.coords - structure[site].coords for n in near])


CASES = [(make, i) for make in (quartz, stishovite) for i in (0, -1)]


@pytest.mark.parametrize(("make", "site"), CASES)
def test_first_shell_is_that_of_pymatgen(make, site):
    structure = make()
    species, positions = neighbours(structure, site % len(structure))
    absorber = structure[site].specie.symbol
    oracle = CutOffDictNN(PAIRS).get_nn_info(structure, site % len(structure))
    assert geometry.coordination(absorber, species, positions) == len(oracle)
    lengths = sorted(np.linalg.norm(n["site"].coords - structure[site].coords) for n in oracle)
    np.testing.assert_allclose(geometry.shell_bonds(absorber, species, positions), lengths)


def test_random_boxes_agree_with_pymatgen():
    rng = np.random.default_rng(3)
    for _ in range(5):
        kinds = rng.choice(["Si", "O"], 20, p=[0.4, 0.6])
        box = Structure(Lattice.cubic(7.0), kinds, rng.random((20, 3)))
        for site in range(0, 20, 5):
            species, positions = neighbours(box, site)
            found = geometry.coordination(box[site].specie.symbol, species, positions)
            assert found == len(CutOffDictNN(PAIRS).get_nn_info(box, site))


def test_quartz_angles_and_bridge():
    species, positions = neighbours(quartz(), 0)
    angles = geometry.shell_angles("Si", species, positions)
    assert angles.shape == (6,)
    assert geometry.mean_angle("Si", species, positions) == pytest.approx(109.47, abs=0.1)
    assert geometry.bridge("Si", species, positions) == pytest.approx(3.058, abs=0.01)
    oxygen = neighbours(quartz(), 4)
    assert geometry.bridge("O", *oxygen) == pytest.approx(143.7, abs=0.5)


def test_octahedron_has_twelve_right_and_three_straight_angles():
    positions = 1.8 * np.vstack([np.eye(3), -np.eye(3)])
    angles = geometry.shell_angles("Si", np.array(["O"] * 6), positions)
    np.testing.assert_allclose(angles, [90] * 12 + [180] * 3)


def test_samples_of_different_coordination_are_padded_with_nan():
    positions = np.zeros((2, 4, 3))
    positions[0, :, 0] = [1.6, 1.7, 3.0, 4.0]
    positions[1, :, 1] = [1.5, 1.6, 1.7, 4.0]
    species = np.array([["O"] * 4] * 2)
    bonds = geometry.shell_bonds("Si", species, positions)
    np.testing.assert_array_equal(bonds, [[1.6, 1.7, np.nan], [1.5, 1.6, 1.7]])
    assert geometry.coordination("Si", species, positions).tolist() == [2, 3]
    assert geometry.mean_bond("Si", species, positions) == pytest.approx([1.65, 1.6])


def test_padding_is_no_atom():
    species = np.array(["O", "O", ""])
    positions = np.array([[1.6, 0, 0], [0, 1.6, 0], [0, 0, 0.0]])
    assert geometry.coordination("Si", species, positions) == 2
    assert geometry.mean_angle("Si", species, positions) == pytest.approx(90)


def test_absorber_without_bonds():
    species, positions = np.array(["O"]), np.array([[0, 0, 3.0]])
    assert geometry.coordination("Si", species, positions) == 0
    assert np.isnan(geometry.mean_bond("Si", species, positions))
    assert np.isnan(geometry.bridge("Si", species, positions))


def test_radii_are_those_of_pymatgen_and_set_unlisted_cutoffs():
    assert geometry.covalent_radii() == CovalentRadius.radius
    assert geometry.bond_cutoff("Al", "O") == pytest.approx(1.21 + 0.66 + 0.45)
    assert geometry.bond_cutoff("O", "Si") == geometry.bond_cutoff("Si", "O") == 2.25
    with pytest.raises(ValueError, match="Xx"):
        geometry.bond_cutoff("Si", "Xx")


ROCK_SALT = [[0, 0, 0], [0.5, 0.5, 0.5]]
CRYSTALS = {
    "MnO": (225, Lattice.cubic(4.446), ["Mn", "O"], ROCK_SALT, 6),
    "sphalerite": (216, Lattice.cubic(5.41), ["Zn", "S"], [[0, 0, 0], [0.25] * 3], 4),
    "hematite": (
        167,
        Lattice.hexagonal(5.038, 13.772),
        ["Fe", "O"],
        [[0, 0, 0.3553], [0.3059, 0, 0.25]],
        6,  # the iron behind three bridging oxygens, 2.9 Å away, is no ligand
    ),
    "iron": (229, Lattice.cubic(2.866), ["Fe"], [[0, 0, 0]], 8),
    "copper": (225, Lattice.cubic(3.615), ["Cu"], [[0, 0, 0]], 12),
    "zinc": (194, Lattice.hexagonal(2.665, 4.947), ["Zn"], [[1 / 3, 2 / 3, 0.25]], 12),
    "galena": (225, Lattice.cubic(5.936), ["S", "Pb"], ROCK_SALT, 6),
    "pyrite": (205, Lattice.cubic(5.428), ["S", "Fe"], [[0.3848] * 3, [0, 0, 0]], 4),
    "forsterite-like": (
        221,
        Lattice.cubic(3.3),
        ["Si", "O", "Mg"],
        [[0.5] * 3, [0.5, 0.5, 0], [0] * 3],
        6,
    ),
}


@pytest.mark.parametrize("name", CRYSTALS)
def test_coordination_of_common_crystals_is_the_textbooks(name):
    group, lattice, kinds, places, expected = CRYSTALS[name]
    species, positions = neighbours(Structure.from_spacegroup(group, lattice, kinds, places), 0)
    assert geometry.coordination(kinds[0], species, positions) == expected
    both = np.array([species, species])  # and many clusters at once count alike
    assert (
        geometry.coordination(kinds[0], both, np.array([positions] * 2)).tolist() == [expected] * 2
    )


def test_radial_distribution_counts_atoms():
    r = geometry.rdf_grid()
    species = np.array([["O", "O", "Si"], ["O", "O", "Si"]])
    positions = np.zeros((2, 3, 3))
    positions[..., 0] = [[1.6, 1.7, 3.1], [1.6, 2.5, 5.0]]
    rdf = geometry.radial_distribution(
        species, positions, vocabulary=("O", "Si"), r=r, weights=np.array([0.25, 0.75])
    )
    assert rdf["O"].sum() * 0.02 == pytest.approx(2, abs=1e-6)
    assert rdf["Si"].sum() * 0.02 == pytest.approx(0.25, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_figures_do_not_change_under_rotation_reflection_and_order(seed):
    rng = np.random.default_rng(seed)
    species = rng.choice(["Si", "O"], 12)
    positions = rng.normal(0, 1.6, (12, 3))
    turn, order = ortho_group.rvs(3, random_state=rng), rng.permutation(12)
    turned = (positions @ turn.T)[order]
    for absorber in ("Si", "O"):
        for figure in (geometry.coordination, geometry.shell_bonds, geometry.bridge):
            before = figure(absorber, species, positions)
            np.testing.assert_allclose(figure(absorber, species[order], turned), before, atol=1e-9)
        np.testing.assert_allclose(
            geometry.shell_angles(absorber, species[order], turned),
            geometry.shell_angles(absorber, species, positions),
            atol=1e-5,
        )
