"""The view of runs in a real browser: scans that are chosen, and what is made of them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nearedge.sim.silica import Specimen, silica
from nearedge.streaming.page.feed import Feed
from tests.browser.test_page import PRESSURES, READY, answered, page_of, refused, text

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

Keep = Callable[[Any, str], None]
CHOSEN = "import('/static/chosen.js').then((one) => one.chosen())"


@pytest.fixture(scope="module")
def specimen() -> Specimen:
    return silica("Si", "K")


@pytest.fixture(scope="module")
def address(specimen: Specimen) -> Iterator[str]:
    feed = Feed()
    feed(refused(1, specimen))
    for number, pressure in enumerate(PRESSURES, 2):
        feed(answered(number, pressure, specimen))
    with page_of(feed) as served:
        yield served


@pytest.fixture
def runs(browser: Any, address: str) -> Any:
    """The browser at the list of runs, with nothing chosen."""
    browser.look()
    browser.open(f"{address}#runs")
    browser.wait("document.querySelectorAll('tbody tr').length === 7")
    browser.js("import('/static/chosen.js').then((one) => one.chooseNone())")
    browser.troubles.clear()
    return browser


def tick(browser: Any, key: str, *, shift: bool = False) -> None:
    options = json.dumps({"bubbles": True, "shiftKey": shift})
    browser.js(
        f"document.querySelector('tr[data-key={key}] input')"
        f".dispatchEvent(new MouseEvent('click', {options}))"
    )


def test_scans_are_chosen_with_the_mouse_and_part_of_the_address(runs: Any) -> None:
    assert runs.js("document.querySelector('tr[data-key=key-1] input') === null")  # rejected
    tick(runs, "key-3")
    tick(runs, "key-6", shift=True)
    assert sorted(runs.js(CHOSEN)) == ["key-3", "key-4", "key-5", "key-6"]
    tick(runs, "key-4")
    assert "3 chosen" in text(runs, ".runs .chosen")
    assert runs.js("document.querySelectorAll('tr.ticked').length") == 3
    runs.js("window.before = true; location.reload()")
    runs.wait("!window.before && document.querySelectorAll('tr.ticked input:checked').length === 3")
    assert sorted(runs.js(CHOSEN)) == ["key-3", "key-5", "key-6"]
    runs.js("location.hash = 'now'")
    runs.wait(READY)
    runs.js("location.hash = 'runs'")  # a visit to another view forgets nothing
    runs.wait("document.querySelectorAll('tr.ticked').length === 3")
    runs.js("document.querySelector('.runs .chosen button').click()")
    runs.wait("document.querySelectorAll('tr.ticked').length === 0")
    assert runs.js("location.hash") == "#runs"
    assert runs.troubles == []


def test_scans_are_chosen_with_the_keyboard_and_the_focus_stays(runs: Any) -> None:
    runs.js("document.querySelector('tr[data-key=key-7]').focus()")
    runs.press(" ")
    runs.press("ArrowDown")
    runs.press(" ")
    assert sorted(runs.js(CHOSEN)) == ["key-6", "key-7"]
    runs.js(
        "import('/static/store.js').then((s) => { s.default.results.get('key-6').sample = 0; })"
    )
    runs.js("document.querySelector('input[type=search]').dispatchEvent(new Event('input'))")
    assert runs.js("document.activeElement.dataset.key") == "key-6"  # its line was made anew
    runs.press(" ")
    assert runs.js(CHOSEN) == ["key-7"]
    assert runs.troubles == []
