import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from pymatgen.core import Lattice, Structure

from nearedge.models.clusters.geometry import coordination, distances
from nearedge.sim import sites


@pytest.fixture
def quartz():
    lattice = Lattice.hexagonal(4.9137, 5.4047)
    kinds, places = ["Si", "O"], [[0.4697, 0, 2 / 3], [0.4135, 0.2669, 0.7858]]
    return Structure.from_spacegroup("P3_221", lattice, kinds, places)


def test_one_site_of_each_orbit(quartz):
    assert [len(sites.unique_sites(quartz, s)) for s in ("Si", "O", "Al")] == [1, 1, 0]


def test_without_a_symmetry_each_site_is_its_own(quartz):
    quartz.append("O", quartz[3].frac_coords + 1e-3)  # atoms that overlap: spglib gives up
    assert len(sites.unique_sites(quartz, "Si")) == 3


def test_cluster_has_the_shells_of_quartz(quartz):
    cluster = sites.cluster_around(quartz, 0)
    r = distances(cluster.positions)
    assert (np.diff(r) >= -1e-3).all()
    assert r[-1] <= sites.RADIUS
    assert cluster.species[:4] == ["O"] * 4
    assert coordination("Si", np.array(cluster.species), cluster.positions) == 4


def test_rattling_moves_every_atom_by_the_stated_amount(quartz):
    rng = np.random.default_rng(0)
    before, site = sites.rattled(quartz, 3, rattle=0.0, strain=np.zeros((3, 3)), rng=rng)
    after, _ = sites.rattled(quartz, 3, rattle=0.1, strain=np.zeros((3, 3)), rng=rng)
    moved = np.linalg.norm(after.cart_coords - before.cart_coords, axis=1)
    assert np.sqrt((moved**2).mean()) == pytest.approx(0.1, rel=0.1)
    assert before[site].specie == quartz[3].specie
    same = sites.cluster_around(before, site)
    np.testing.assert_allclose(
        distances(same.positions), distances(sites.cluster_around(quartz, 3).positions), atol=1e-3
    )


def test_strain_is_symmetric_and_scales_bonds(quartz):
    strain = sites.strain_of(np.random.default_rng(1), 0.01)
    np.testing.assert_array_equal(strain, strain.T)
    assert 0.001 < np.abs(strain).max() < 0.05
    larger = np.eye(3) * 0.01
    grown, site = sites.rattled(quartz, 0, rattle=0.0, strain=larger, rng=np.random.default_rng(0))
    first, before = (
        distances(sites.cluster_around(*where).positions)[0]
        for where in ((grown, site), (quartz, 0))
    )
    assert first == pytest.approx(1.01 * before, abs=2e-4)


def test_cif_poscar_and_extended_xyz_are_read_alike(quartz, tmp_path):
    quartz.to(str(tmp_path / "q.cif"))
    quartz.to(str(tmp_path / "POSCAR"))
    atoms = Atoms(
        [s.symbol for s in quartz.species],
        positions=quartz.cart_coords,
        cell=quartz.lattice.matrix,
        pbc=True,
    )
    write(tmp_path / "two.extxyz", [atoms, atoms])
    paths = sites.structure_files([tmp_path])
    found = [one for path in paths for one in sites.read_structures(path)]
    assert [one.key for one in found] == ["POSCAR", "q", "two#0", "two#1"]
    assert [one.family for one in found] == ["POSCAR", "q", "two", "two"]
    shells = [distances(sites.cluster_around(one.structure, 0).positions)[:20] for one in found]
    np.testing.assert_allclose(shells, [shells[0]] * 4, atol=2e-3)


def test_trouble_is_named(tmp_path, quartz):
    with pytest.raises(ValueError, match="does not exist"):
        list(sites.structure_files([tmp_path / "no.cif"]))
    with pytest.raises(ValueError, match="holds no structure"):
        list(sites.structure_files([tmp_path]))
    (tmp_path / "bad.xyz").write_text("1\nno lattice\nSi 0 0 0\n")
    with pytest.raises(ValueError, match="Lattice"):
        sites.read_structures(tmp_path / "bad.xyz")
    mixed = Structure(quartz.lattice, [{"Si": 0.5, "Al": 0.5}], [[0, 0, 0]])
    mixed.to(str(tmp_path / "mixed.cif"))
    with pytest.raises(ValueError, match="partly occupied"):
        sites.read_structures(tmp_path / "mixed.cif")


def test_atoms_on_top_of_each_other_are_refused():
    box = Structure(Lattice.cubic(8), ["Si", "O"], [[0, 0, 0], [0.1, 0, 0]])
    with pytest.raises(ValueError, match=r"0\.80 Å"):
        sites.cluster_around(box, 0)
