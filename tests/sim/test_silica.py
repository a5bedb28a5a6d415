import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearedge.models.data.dataset import Site
from nearedge.sim.silica import (
    Specimen,
    edge_shift,
    extended,
    shipped_sites,
    silica,
    single_site,
    steepest,
    truth_of_metadata,
)

SPECIMENS = {absorber: silica(absorber) for absorber in ("Si", "O")}
pressures = st.floats(0.0, 80.0)


def first_shell(site: Site) -> np.ndarray:
    """Bonds counted here by hand, not by the module that the specimen uses."""
    partner = {"Si": "O", "O": "Si"}[site.absorber]
    lengths = np.linalg.norm(site.positions[site.species == partner], axis=1)
    return lengths[lengths < 2.25]


@given(pressure=pressures, absorber=st.sampled_from(["Si", "O"]))
def test_truth_is_what_the_geometry_says(pressure: float, absorber: str) -> None:
    specimen = SPECIMENS[absorber]
    sites = {site.id: site for site in shipped_sites(absorber, "K")}
    truth = specimen.truth(pressure)
    shells = {id_: first_shell(sites[id_]) for id_, _, _, _ in truth.sites}
    share = {id_: part for id_, _, _, part in truth.sites}
    assert sum(share.values()) == pytest.approx(1)
    assert truth.cn_mean == pytest.approx(sum(len(shells[i]) * share[i] for i in share))
    assert truth.bond_mean == pytest.approx(sum(shells[i].mean() * share[i] for i in share))
    assert sum(truth.cn_prob.values()) == pytest.approx(1)


@settings(max_examples=20)
@given(low=pressures, high=pressures, absorber=st.sampled_from(["Si", "O"]))
def test_coordination_never_falls_with_pressure(low: float, high: float, absorber: str) -> None:
    low, high = sorted((low, high))
    specimen = SPECIMENS[absorber]
    assert specimen.truth(low).cn_mean <= specimen.truth(high).cn_mean + 1e-12


@pytest.mark.parametrize(("absorber", "ends"), [("Si", (4, 6)), ("O", (2, 3))])
def test_ramp_runs_from_pure_to_pure(absorber: str, ends: tuple[int, int]) -> None:
    specimen = SPECIMENS[absorber]
    assert specimen.truth(0.0).cn_prob == {ends[0]: 1.0}
    assert specimen.truth(60.0).cn_prob == {ends[1]: pytest.approx(1.0)}


def test_no_shipped_site_was_trained_on() -> None:
    splits = {site.split for absorber in SPECIMENS for site in shipped_sites(absorber, "K")}
    assert splits == {"test", "val"}


@pytest.mark.parametrize("absorber", ["Si", "O"])
def test_spectrum_is_the_weighted_mean_of_its_sites(absorber: str) -> None:
    specimen = SPECIMENS[absorber]
    energy = specimen.edge_energy + np.linspace(-5, 50, 200)
    expected = sum(
        share * np.interp(energy - specimen.shift, site.energy, site.mu)
        for site, share in specimen.shares(33.0)
    )
    assert specimen.mu(energy, pressure=33.0) == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize("absorber", ["Si", "O"])
def test_extension_is_continuous_and_settles(absorber: str) -> None:
    site = shipped_sites(absorber, "K")[0]
    for end in (site.energy[0], site.energy[-1]):
        below, above = extended(site, np.array([end - 1e-6, end + 1e-6]))
        assert below == pytest.approx(above, abs=1e-4)
    far = extended(site, np.array([site.energy[0] - 60, site.energy[-1] + 200]))
    assert far == pytest.approx([0, 1], abs=1e-4)


def test_edge_lies_where_it_is_put() -> None:
    for specimen in SPECIMENS.values():
        energy = specimen.edge_energy + np.arange(-20, 40, 0.1)
        assert abs(steepest(energy, specimen.mu(energy, pressure=0.0)) - specimen.edge_energy) < 3


def test_broadening_keeps_the_area_and_lowers_the_peak() -> None:
    specimen = SPECIMENS["Si"]
    energy = specimen.edge_energy + np.arange(-30, 60, 0.1)
    sharp = specimen.mu(energy, pressure=0.0)
    broad = specimen.mu(energy, pressure=0.0, fwhm=2.0)
    assert broad.max() < sharp.max()
    assert np.trapezoid(broad, energy) == pytest.approx(np.trapezoid(sharp, energy), rel=1e-2)


def test_radial_distribution_counts_the_first_shell() -> None:
    specimen = SPECIMENS["Si"]
    r = np.linspace(0, 2.25, 500)
    assert np.trapezoid(specimen.rdf(r, pressure=0.0)["O"], r) == pytest.approx(4, abs=0.02)


def test_truth_survives_the_start_document() -> None:
    truth = SPECIMENS["Si"].truth(30.0)
    start = {"uid": "x", "simulation": {"truth": truth.metadata()}}
    back = truth_of_metadata(start)
    assert back is not None
    assert back.metadata() == truth.metadata()
    assert truth_of_metadata({"uid": "x"}) is None


def test_single_site_ignores_pressure() -> None:
    site = shipped_sites("Si", "K")[0]
    specimen: Specimen = single_site(site)
    assert specimen.truth(0.0).cn_prob == specimen.truth(60.0).cn_prob == {site.cn: 1.0}
    assert specimen.shift == edge_shift([site])


def test_unknown_edge_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"Fe K.*--cif"):
        silica("Fe")
