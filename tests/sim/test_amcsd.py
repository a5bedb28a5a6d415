import gc
import warnings
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from nearedge.sim import amcsd

pytest.importorskip("larixite")


@pytest.fixture(scope="module")
def database():
    with ExitStack() as stack:
        with warnings.catch_warnings():
            # to see what kind of file it is, larixite opens it once more, and does not close that
            warnings.filterwarnings("ignore", "unclosed database", ResourceWarning)
            opened = stack.enter_context(amcsd.opened_amcsd())
            gc.collect()
        yield opened


def of(monkeypatch, database, *numbers, among=()):
    """The structures that `amcsd_structures` makes of these entries."""
    entries = [database.get_cif(number) for number in numbers]
    monkeypatch.setattr(amcsd, "_entries", lambda absorbers: iter(entries))
    return amcsd.amcsd_structures(["Fe"], among=among)


def test_a_crystal_brings_its_family_prototype_and_formula(monkeypatch, database):
    (pyrite,) = of(monkeypatch, database, 605)
    assert pyrite.key == "amcsd-605"
    assert pyrite.family == "Pyrite AB2_cP12_205_a_c"
    assert (pyrite.formula, pyrite.prototype) == ("FeS2", "AB2_cP12_205_a_c")
    assert pyrite.group == "amcsd"
    assert pyrite.source.startswith("AMCSD 605 (")
    assert len(pyrite.structure) == 12


def test_hydrogen_and_the_labels_of_water_are_read(monkeypatch, database):
    (goethite,) = of(monkeypatch, database, 10471)
    assert goethite.formula == "FeO2"
    assert goethite.structure.symbol_set == ("Fe", "O")
    (gypsum,) = of(monkeypatch, database, 11093)
    assert gypsum.formula == "CaSO6"


def test_a_structure_whose_atoms_overlap_is_passed_over(monkeypatch, database):
    assert of(monkeypatch, database, 10997) == []


def test_one_structure_stands_for_each_formula_and_space_group(monkeypatch, database):
    found = of(monkeypatch, database, 605, 12728, 10471)
    assert sorted(one.formula for one in found if one.formula in ("FeS2", "FeO2")) == [
        "FeO2",
        "FeS2",
    ]


def test_crystals_with_other_elements_than_asked_for_are_passed_over(monkeypatch, database):
    pyrite, goethite = 605, 10471
    assert [one.formula for one in of(monkeypatch, database, pyrite, among=("Fe", "S"))] == ["FeS2"]
    assert of(monkeypatch, database, pyrite, among=("Fe", "O")) == []
    assert of(monkeypatch, database, goethite, among=("Fe", "O")) == []  # it holds hydrogen
    assert len(of(monkeypatch, database, goethite, among=("Fe", "H", "O"))) == 1


def test_rooms_conditions_and_recent_years_come_first():
    def entry(title, year):
        publication = SimpleNamespace(year=year)
        return SimpleNamespace(pub_title=title, compound="", publication=publication)

    ranks = [
        amcsd._rank(entry("The structure of X", 2001)),
        amcsd._rank(entry("The structure of X", 1966)),
        amcsd._rank(entry("X at P = 5.2 GPa", 2010)),
    ]
    assert ranks == sorted(ranks)


def test_without_larixite_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(amcsd, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'nearedge\[amcsd\]'"):
        amcsd.amcsd_structures(["Fe"])
