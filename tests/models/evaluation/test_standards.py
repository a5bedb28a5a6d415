import math

import numpy as np
import pytest

from nearedge.models import NormalisedSpectrum, Technique
from nearedge.models.clusters.geometry import mean_bond
from nearedge.models.data.dataset import Site
from nearedge.models.evaluation import standards as st
from nearedge.models.evaluation.standard_baselines import nearest_calculated, trees_left_out

HEAD = "file,compound,absorber,edge,cn_true,bond_mean_A,confidence\n"
ENERGY = np.arange(-40.0, 61.0, 0.5)


def standard(file, compound="FeO", cn=6.0, bond=2.15, absorber="Fe"):
    return st.Standard(file=file, compound=compound, absorber=absorber, edge="K", cn=cn, bond=bond)


def test_a_table_gives_its_standards_and_says_what_is_wrong(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text(HEAD + "a.xdi,Fe3O4,Fe,K,5.333,2.017,high\nb.xdi,soil,Fe,K,,,none\n")
    (one,) = st.read_truth(path)
    assert (one.compound, one.cn, one.bond) == ("Fe3O4", 5.333, 2.017)
    path.write_text(HEAD.replace("cn_true", "cn") + "a,b,Fe,K,6,2,high\n")
    with pytest.raises(ValueError, match="no column cn_true"):
        st.read_truth(path)
    path.write_text(HEAD + "a.xdi,FeO,Fe,K,six,2,high\n")
    with pytest.raises(ValueError, match=r"a\.xdi.*six"):
        st.read_truth(path)
    path.write_text(HEAD)
    with pytest.raises(ValueError, match="holds no compound"):
        st.read_truth(path)


def test_compounds_count_alike_however_many_scans_there_are():
    scans = [standard("1"), standard("2"), standard("3"), standard("4", "Fe", 8.0, 2.48)]
    good = st.StandardAnswer(cn=6.0, bond=2.17, cn_set=(5, 6), bond_range=(2.1, 2.2))
    answers = {
        "1": good,
        "2": good,
        "3": "unsupported",
        "4": st.StandardAnswer(
            cn=6.0,
            bond=2.0,
            cn_set=(6, 7),
            bond_range=(1.9, 2.1),
            doubts=("out-of-distribution", "cn-undecided"),
        ),
    }
    every = st.compounds(scans, answers)
    assert [one.name for one in every] == ["Fe", "FeO"]
    assert st.figures(every) == {
        "compounds": 2,
        "answered": 2,
        "cn_right": 0.5,
        "bond_error": pytest.approx((0.48 + 0.02) / 2),
        "cn_held": 0.5,
        "bond_held": 0.5,
    }
    trusted = st.figures(st.unflagged(every))
    assert (trusted["answered"], trusted["cn_right"]) == (1, 1.0)
    told = st.to_markdown(every, {"a baseline": every})
    assert "| Fe | FeO | 6 | 6 | 5 6 | 2.150 | 2.170 | 2.10 to 2.20 | unsupported |" in told
    assert "out-of-distribution (1 of 1), cn-undecided (1 of 1)" in told
    assert "| a baseline | 2 | 2 | 50 % | 0.250 | 50 % | 50 % |" in told
    assert st.to_dict(every, {})["by element"]["Fe"]["compounds"] == 2


def test_a_mixtures_number_is_right_and_held_within_a_half():
    found = st.StandardAnswer(cn=5.0, bond=2.0, cn_set=(5,), bond_range=None)
    (one,) = st.compounds([standard("1", cn=5.333)], {"1": found})
    assert one.cn_right
    assert st.figures([one])["cn_held"] == 1
    assert st.figures([one])["bond_held"] is None


def test_without_answers_there_are_no_figures():
    every = st.compounds([standard("1")], {"1": "no-edge"})
    assert st.figures(every)["cn_right"] is None
    assert "| Fe | FeO | 6 | – | – | 2.150 | – | – | no-edge |" in st.to_markdown(every, {})


def spectrum(shape, absorber="Fe"):
    norm = 0.5 + np.arctan(ENERGY) / np.pi + shape * np.exp(-(((ENERGY - 8) / 4) ** 2))
    return NormalisedSpectrum(
        energy=7112 + ENERGY,
        mu=norm,
        norm=norm,
        flat=norm,
        e0=7112.0,
        edge_step=1.0,
        technique=Technique.XANES,
        absorber=absorber,
        edge="K",
    )


def site(name, shape, cn, bond):
    positions = bond * np.array(
        [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]
    )
    seen = spectrum(shape)
    words = dict.fromkeys(("split", "group", "family", "structure", "source"), "x")
    return Site(
        **words,
        id=name,
        absorber="Fe",
        edge="K",
        rattle=0.0,
        strain=0.0,
        species=np.array(["O"] * cn),
        positions=positions[:cn],
        energy=seen.energy,
        mu=seen.norm,
        mu0=np.empty(0),
        e_fermi=math.nan,
    )


def test_the_nearest_calculated_spectrum_lends_its_cn_and_bond():
    sites = [site("low", 0.1, 4, 1.9), site("high", 0.6, 6, 2.1)]
    scans = [standard("1"), standard("2"), standard("3"), standard("4", absorber="Cu")]
    spectra = {"1": spectrum(0.15), "2": spectrum(0.5), "4": spectrum(0.5, "Cu")}
    found = nearest_calculated(scans, spectra, sites)
    assert [found["1"].cn, found["2"].cn] == [4, 6]
    assert found["2"].bond == pytest.approx(
        float(mean_bond("Fe", sites[1].species, sites[1].positions))
    )
    assert (found["3"], found["4"]) == ("rejected", "unsupported")


def test_trees_never_see_the_compound_that_they_are_asked_about():
    scans = [standard(f"{k}", f"compound {k // 2}", cn=4 + 2 * (k // 2 % 2)) for k in range(8)]
    spectra = {one.file: spectrum(0.1 * one.cn) for one in scans}
    odd = standard("odd", "odd one", cn=12.0, bond=2.5)
    found = trees_left_out([*scans, odd], spectra | {"odd": spectrum(0.9)})
    assert found["odd"].cn < 7  # it has seen no twelve
    assert found["0"].cn == pytest.approx(4, abs=0.2)


def test_compounds_that_were_learned_from_are_told_apart():
    scans = st.marked([standard("1"), standard("2", "other")], [("Fe", "other")])
    assert [one.learned for one in scans] == [False, True]
    found = st.StandardAnswer(cn=6.0, bond=2.0)
    every = st.compounds(scans, {"1": found, "2": found})
    assert [one.name for one in st.unseen(every)] == [scans[0].compound]
    text = st.to_markdown(every, {})
    assert "learned |" in text
    assert "| not learned from | 1 | 1 |" in text
    assert st.to_dict(every, {})["not learned from"]["compounds"] == 1
