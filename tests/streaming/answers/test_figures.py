from dataclasses import replace

import pytest

from nearedge.streaming.answers.figures import (
    BOND,
    CN,
    FIGURES,
    OOD,
    as_columns,
    described,
    figures_of,
    plain_figures,
    stored_figures,
)
from nearedge.streaming.answers.summary import stored_summary, summary
from nearedge.streaming.answers.trend import COLUMNS, NUMBERS
from nearedge.streaming.catalog.layout import Provenance, ensemble_metadata
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.row import Row


def test_the_highest_class_says_that_it_holds_all_above():
    assert CN.bounds_text({"mean": 11.0, "set": [8, 12]}) == "{8, 12+}"


def test_what_the_catalog_holds_reads_as_what_was_answered(measurement, spectrum, make_inversion):
    inversion = make_inversion(cn=4.25)
    provenance = Provenance(config="c", code="0", written=0.0)
    metadata = ensemble_metadata(measurement, spectrum, inversion, provenance)
    assert stored_figures(metadata) == plain_figures(inversion)
    assert set(metadata["cn"]) == {"mean", "mean_lo", "mean_hi", "map", "set", "prob"}


def test_a_row_and_its_stored_entry_have_the_same_summary(measurement, spectrum, make_inversion):
    inversion = make_inversion()
    row = Row(
        key="k",
        status=State.COMPLETE,
        measurement=measurement,
        outcome=spectrum,
        inversion=inversion,
        error=None,
        stages={},
    )
    provenance = Provenance(config="c", code="0", written=0.0)
    metadata = {
        **ensemble_metadata(measurement, spectrum, inversion, provenance),
        "status": "complete",
    }
    live, stored = summary(row), stored_summary("k", metadata)
    for name in (*(one.name for one in FIGURES), "model"):
        assert live[name] == stored[name], name


def test_an_entry_of_an_older_version_has_no_interval_of_the_mean():
    stored = stored_figures({"cn": {"mean": 4.25, "map": 4, "set": [4, 5], "prob": []}})["cn"]
    assert (stored["mean"], stored["mean_lo"], stored["mean_hi"]) == (4.25, None, None)
    assert (CN.interval_text(stored), CN.bounds_text(stored)) == ("", "{4, 5}")


def test_a_rejection_has_none_of_them():
    assert set(plain_figures(None).values()) == {None}
    assert set(as_columns(stored_figures({})).values()) == {None}


@pytest.mark.parametrize(
    ("absorber", "unit", "word"), [("Si", "Å", "angstrom"), ("O", "°", "degree"), (None, "", "")]
)
def test_what_bridge_is_depends_on_the_absorber(absorber, unit, word):
    bridge = next(one for one in figures_of(absorber) if one.name == "bridge")
    assert (bridge.unit, bridge.unit_word) == (unit, word)


def test_figures_in_words(make_inversion):
    inversion = make_inversion(cn=4.25)
    cn, bond = CN.read(inversion), BOND.read(inversion)
    assert (CN.text(cn), CN.bounds_text(cn)) == ("4.2", "{4, 5}")
    assert CN.interval_text(cn) == "[4.0, 4.5]"
    assert (BOND.text(bond), BOND.bounds_text(bond)) == ("1.620", "[1.520, 1.720]")
    assert (BOND.heading, BOND.label, CN.heading) == ("bond, Å", "mean bond / Å", "CN")
    assert (OOD.text(OOD.read(inversion)), OOD.bounds_text(OOD.read(inversion))) == ("0.500", "")
    none = replace(inversion, estimates=replace(inversion.estimates, bond=None))
    assert (BOND.text(BOND.read(none)), BOND.bounds_text(BOND.read(none))) == ("–", "")


@pytest.mark.parametrize(
    ("half", "text", "interval"),
    [
        (0.03, "5.98", "[5.95, 6.01]"),
        (0.3, "6.0", "[5.7, 6.3]"),
        (1.2, "6.0", "[4.8, 7.2]"),
        (None, "6.0", ""),
    ],
)
def test_a_mean_of_whole_numbers_has_the_decimals_that_its_interval_bears(half, text, interval):
    ends = {f"mean_{end}": half and 5.98 + sign * half for end, sign in (("lo", -1), ("hi", 1))}
    plain = {"mean": 5.98, **ends, "map": 6, "set": [6]}
    assert (CN.text(plain), CN.interval_text(plain)) == (text, interval)


def test_columns_of_the_trend_are_those_of_the_figures():
    assert {"cn", "cn_set", "bond", "bond_lo", "angle_hi", "bridge", "misfit"} < set(COLUMNS)
    assert {"cn", "bond_lo", "misfit", "ood_score", "latency"} < set(NUMBERS)
    assert not {"cn_set", "ood_flag"} & set(NUMBERS)


def test_the_page_is_told_every_figure():
    told = described()
    assert list(told["figures"]) == [one.name for one in FIGURES]
    assert all(one["meaning"] for one in told["figures"].values())
    assert "O" in told["bridge"]["angle_of"] and "Si" not in told["bridge"]["angle_of"]
