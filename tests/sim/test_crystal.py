from pathlib import Path

import numpy as np
import pytest

from nearedge.sim import crystal
from nearedge.sim.crystal import cluster_of_file, specimen_of_file
from nearedge.streaming.workers.feff import Calculation, FeffError

# spglib by way of pymatgen
pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")

STISHOVITE = """data_stishovite
_chemical_formula_sum 'Si2 O4'
_cell_length_a 4.1773
_cell_length_b 4.1773
_cell_length_c 2.6655
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_symmetry_equiv_pos_as_xyz
'x, y, z'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Si1 Si 0 0 0 {occupancy}
Si2 Si 0.5 0.5 0.5 1
O1 O 0.3061 0.3061 0 1
O2 O 0.6939 0.6939 0 1
O3 O 0.1939 0.8061 0.5 1
O4 O 0.8061 0.1939 0.5 1
"""


@pytest.fixture
def cif(tmp_path: Path) -> Path:
    path = tmp_path / "stishovite.cif"
    path.write_text(STISHOVITE.format(occupancy=1))
    return path


def test_neighbours_are_those_of_the_crystal(cif: Path) -> None:
    cluster = cluster_of_file(cif, absorber="Si", number=0)
    distance = np.linalg.norm(cluster.positions, axis=1)
    assert cluster.species[:6] == ["O"] * 6
    assert distance[:6] == pytest.approx([1.7572] * 4 + [1.8083] * 2, abs=2e-3)
    assert np.all(np.diff(distance) > -1e-3)
    assert distance[-1] <= 6.6


def test_absorber_that_is_not_there(cif: Path) -> None:
    with pytest.raises(ValueError, match="found 1 kinds of Si, no number 1"):
        cluster_of_file(cif, absorber="Si", number=1)


def test_partly_occupied_sites_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "partial.cif"
    formula = "Si1.5 O4"
    path.write_text(STISHOVITE.format(occupancy=0.5).replace("Si2 O4", formula))
    with pytest.raises(ValueError, match="partly occupied"):
        cluster_of_file(path, absorber="Si", number=0)


def test_calculation_without_convergence_is_refused(
    cif: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = np.ones(3)
    failed = Calculation(energy=one, mu=one, mu0=one, e_fermi=0.0, converged=False)
    monkeypatch.setattr(crystal, "calculate", lambda text: failed)
    with pytest.raises(FeffError, match="self-consistent"):
        specimen_of_file(cif, absorber="Si", edge="K")


def test_specimen_has_the_calculated_spectrum_and_the_true_geometry(
    cif: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    energy = np.linspace(1833.0, 1901.0, 681)
    rise = 0.5 + np.arctan(energy - 1840.0) / np.pi
    asked: list[str] = []

    def calculate(text: str) -> Calculation:
        asked.append(text)
        return Calculation(energy=energy, mu=rise, mu0=rise, e_fermi=-5.0, converged=True)

    monkeypatch.setattr(crystal, "calculate", calculate)
    specimen = specimen_of_file(cif, absorber="Si", edge="K")
    assert "EDGE K" in asked[0]
    truth = specimen.truth(0.0)
    assert truth.cn_prob == {6: 1.0}
    assert truth.bond_mean == pytest.approx(1.7743, abs=1e-3)
    assert specimen.shift == pytest.approx(1839.0 - 1840.0, abs=0.1)
    assert truth.sites[0][2] == "unknown"
