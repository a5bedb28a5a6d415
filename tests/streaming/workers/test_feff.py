import dataclasses
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from nearedge.streaming.workers import feff

TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.935
CLUSTER = ["O"] * 4 + ["Si"], np.vstack([TETRAHEDRON, [[0, 0, 3.1]]])

XMU = """#  site   FEFF 10
#  Gam_ch=0.5   Mu=-4.725E+00 eV kf=1.9
#  omega  e  k  mu  mu0  chi
  1840.0  -5.0  -1.1  1.0E-02  9.0E-03  0.1
  1841.5  -3.5  -0.9  2.0E-02  1.8E-02  0.1
"""


def test_cards_are_those_of_the_data_set():
    lines = feff.feff_input("Si", *CLUSTER).splitlines()
    assert lines[1:10] == [
        "EDGE K",
        "S02 1.0",
        "CONTROL 1 1 1 1 1 1",
        "PRINT 0 0 0 0 0 0",
        "EXCHANGE 0 0.0 0.0 2",
        "COREHOLE FSR",
        "SCF 3.105 0 30 0.2 1",
        "FMS 3.105 0",
        "XANES 4.0 0.07 0.1",
    ]
    start = lines.index("POTENTIALS")
    assert lines[start + 1 : start + 4] == ["0 14 Si 2 2 0.01", "1 14 Si 2 2 1", "2 8 O 1 2 4"]
    assert lines[-3:] == ["-0.93500 -0.93500 0.93500 2", "0.00000 0.00000 3.10000 1", "END"]


def test_radii_stop_at_a_neighbour_or_at_a_distance():
    species, positions = ["O"] * 90, np.array([[0, 0, 1.5 + 0.1 * k] for k in range(90)])
    cards = [line.split() for line in feff.feff_input("Al", species, positions).splitlines()]
    radius = {words[0]: float(words[1]) for words in cards if words[0] in ("SCF", "FMS")}
    assert radius == {"SCF": pytest.approx(3.505), "FMS": pytest.approx(6.0)}


@pytest.mark.parametrize(
    ("symbol", "momenta"), [("O", (1, 2)), ("Si", (2, 2)), ("Fe", (2, 2)), ("Ce", (3, 3))]
)
def test_angular_momenta_follow_the_periodic_table(symbol, momenta):
    assert feff.angular_momenta(symbol) == momenta


def test_xmu_is_read():
    energy, mu, mu0, e_fermi = feff.read_xmu(XMU)
    assert energy.tolist() == [1840.0, 1841.5]
    assert mu.tolist() == [0.01, 0.02]
    assert mu0.tolist() == [0.009, 0.018]
    assert e_fermi == -4.725
    with pytest.raises(feff.FeffError, match=r"no readable xmu\.dat"):
        feff.read_xmu("1 2 3\n")


def test_without_feff_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "feff10", None)
    monkeypatch.setattr(feff, "find_spec", lambda name: None)
    with pytest.raises(feff.FeffError, match=r"pip install 'nearedge\[feff\]'"):
        feff.calculate(feff.feff_input("Si", *CLUSTER))


def stand_in(monkeypatch, script):
    """Run this Python script instead of FEFF."""
    monkeypatch.setattr(feff, "find_spec", lambda name: True)
    monkeypatch.setattr(feff, "_RUN", script)


def test_what_feff_prints_and_writes_is_read(monkeypatch, tmp_path):
    stand_in(monkeypatch, f"print('Convergence reached'); open('xmu.dat', 'w').write({XMU!r})")
    found = feff.calculate("anything", scratch=tmp_path)
    assert found.converged
    assert found.energy.tolist() == [1840.0, 1841.5]
    assert (tmp_path / "feff.inp").read_text() == "anything"
    assert not dataclasses.replace(found, converged=False).converged


def test_a_crash_is_an_error_with_feff_s_last_words(monkeypatch):
    stand_in(monkeypatch, "print('muffin tins overlap'); raise SystemExit(3)")
    with pytest.raises(feff.FeffError, match="code 3: muffin tins overlap"):
        feff.calculate("anything")


@pytest.mark.parametrize("said", ["Bad counts found repeatedly - pot will exit now.", "FRNRM-1"])
def test_lost_charges_are_told_from_other_crashes(monkeypatch, said):
    stand_in(monkeypatch, f"print({said!r}); print('bye'); raise SystemExit(1)")
    with pytest.raises(feff.PotentialsError, match=r"charges got lost: (Bad counts|FRNRM-1)"):
        feff.calculate("anything")


def test_cautious_cards_change_charges_by_little_at_a_time():
    assert feff.FAST.cautious().iterations == 24
    assert feff.FeffCards().cautious().iterations == 30
    assert " 0 24 0.1 5" in feff.feff_input("Si", *CLUSTER, cards=feff.FAST.cautious())


def test_no_spectrum_is_an_error(monkeypatch):
    stand_in(monkeypatch, "print('bye')")
    with pytest.raises(feff.FeffError, match=r"without xmu\.dat: bye"):
        feff.calculate("anything")


def test_a_calculation_that_takes_too_long_is_given_up(monkeypatch):
    stand_in(monkeypatch, "import signal; signal.pause()")
    with pytest.raises(feff.FeffError, match=r"within 0\.5 s"):
        feff.calculate("anything", timeout_s=0.5)


@pytest.mark.skipif(find_spec("feff10") is None, reason="needs feff10-rs (the extra feff)")
def test_feff_calculates_a_small_cluster():
    found = feff.calculate(feff.feff_input("Si", ["O"] * 4, TETRAHEDRON), timeout_s=110)
    assert found.converged
    assert (np.diff(found.energy) > 0).all()
    assert found.energy[0] == pytest.approx(1835, abs=12)
    assert found.mu[0] < 0.1
    assert 1 < found.mu.max() < 8
    assert found.mu[-1] == pytest.approx(1, abs=0.4)


@pytest.mark.skipif(find_spec("feff10") is None, reason="needs feff10-rs (the extra feff)")
def test_feff_reuses_the_potentials_of_the_same_atoms(tmp_path):
    text = feff.feff_input("Si", ["O"] * 4, TETRAHEDRON, cards=feff.FAST)
    first = feff.calculate(text, scratch=tmp_path, timeout_s=110)
    again = feff.calculate(text, scratch=tmp_path, reuse=True, timeout_s=110)
    assert first.charge_change is not None
    assert again.charge_change is None  # no iteration ran
    np.testing.assert_allclose(again.mu, first.mu, atol=1e-4)
    longer = feff.feff_input("Si", ["O"] * 4, 1.03 * TETRAHEDRON, cards=feff.FAST)
    moved = feff.calculate(longer, scratch=tmp_path, reuse=True, timeout_s=110)
    assert moved.converged
    assert np.abs(moved.mu - first.mu).max() > 0.02
