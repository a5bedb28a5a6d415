import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Element

from nearedge.models.composition import CompositionError, elements_in

SYMBOLS = [element.symbol for element in Element if element.symbol not in ("D", "T")]


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("Fe2O3", "Fe O"),
        ("Fe0.95O", "Fe O"),
        ("CaSO4·2H2O", "Ca H O S"),
        ("CaSO4.2H2O", "Ca H O S"),
        ("Cu3(CO3)2(OH)2", "C Cu H O"),
        ("K[AlSi3O8]", "Al K O Si"),
        ("Fe, O", "Fe O"),
        ("Si;O;H", "H O Si"),
        ("Co", "Co"),
        ("CO", "C O"),
        ("D2O", "H O"),
    ],
)
def test_formulas_and_lists_give_their_elements(text, elements):
    assert elements_in(text) == tuple(elements.split())


@pytest.mark.parametrize(
    "text", ["", "hematite", "Si wafer", "Fe2O3 powder", "Xx2", "12", "(Fe", "sample 3", "F" * 999]
)
def test_what_is_no_formula_is_refused(text):
    with pytest.raises(CompositionError, match="expected a formula"):
        elements_in(text)


@given(st.dictionaries(st.sampled_from(SYMBOLS), st.integers(1, 20), min_size=1, max_size=6))
def test_any_elements_in_any_amounts_come_back(amounts):
    formula = "".join(f"{symbol}{amount}" for symbol, amount in amounts.items())
    assert elements_in(formula) == tuple(sorted(amounts))
    assert elements_in(", ".join(amounts)) == tuple(sorted(amounts))


@given(st.text(max_size=40))
def test_any_text_gives_elements_or_the_one_error(text):
    try:
        assert set(elements_in(text)) <= set(SYMBOLS)
    except CompositionError:
        pass
