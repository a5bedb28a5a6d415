"""The view of runs in a real browser: scans that are chosen, and what is made of them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from nearedge.callbacks.measurement import Measurement
from nearedge.models import NormalisedSpectrum
from nearedge.sim.silica import Specimen, silica
from nearedge.streaming.ledger.row import Row
from nearedge.streaming.page.feed import Feed
from nearedge.streaming.service.merging import Merger
from tests.browser.test_page import ENERGY, PRESSURES, READY, answered, page_of, refused, text

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
    service = AtOnce(feed, answered(2, 0.0, specimen))
    merger = Merger(service, model="m", config="c", supports=lambda absorber, edge: True)
    with page_of(feed, merger=merger) as served:
        yield served


class AtOnce:
    """A service that answers what is submitted within the call."""

    def __init__(self, feed: Feed, row: Row) -> None:
        self._feed, self._row = feed, row

    def submit(self, key: str, measurement: Measurement, spectrum: NormalisedSpectrum) -> bool:
        """Show the row of a spectrum."""
        known = self._feed.row(key) is not None
        row = replace(self._row, key=key, measurement=measurement, outcome=spectrum)
        self._feed(row)
        return not known


@pytest.fixture
def runs(browser: Any, address: str) -> Any:
    """The browser at the list of runs, with nothing chosen."""
    browser.look()
    browser.open(f"{address}#runs")
    browser.wait("document.querySelectorAll('.list tbody tr').length >= 7")
    browser.js("import('/static/chosen.js').then((one) => one.chooseNone())")
    browser.troubles.clear()
    return browser


def tick(browser: Any, key: str, *, shift: bool = False) -> None:
    options = json.dumps({"bubbles": True, "shiftKey": shift})
    browser.js(
        f"document.querySelector('.list tr[data-key={key}] input')"
        f".dispatchEvent(new MouseEvent('click', {options}))"
    )


def test_scans_are_chosen_with_the_mouse_and_part_of_the_address(runs: Any) -> None:
    assert runs.js("document.querySelector('.list tr[data-key=key-1] input') === null")  # rejected
    tick(runs, "key-3")
    tick(runs, "key-6", shift=True)
    assert sorted(runs.js(CHOSEN)) == ["key-3", "key-4", "key-5", "key-6"]
    tick(runs, "key-4")
    assert "3 chosen" in text(runs, ".runs .chosen")
    assert runs.js("document.querySelectorAll('tr.ticked').length") == 3
    link = runs.js("location.href")
    runs.open("about:blank")
    runs.wait("location.href === 'about:blank'")
    runs.open(link)
    runs.wait("document.querySelectorAll('tr.ticked input:checked').length === 3")
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
    runs.js("document.querySelector('.list tr[data-key=key-7]').focus()")
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


def overlaid(browser: Any, *keys: str) -> None:
    for key in keys:
        tick(browser, key)
    browser.wait("document.querySelectorAll('.overlay .uplot').length === 2")


def test_chosen_scans_are_overlaid_with_their_answers(runs: Any, keep: Keep) -> None:
    runs.wait("document.querySelector('.overlay').hidden")
    overlaid(runs, "key-2", "key-4", "key-7")
    shown = text(runs, ".overlay")
    assert "Difference to scan 2" in shown
    assert runs.js("document.querySelectorAll('.sides tbody tr').length") == 3
    drawn = runs.js("document.querySelector('.overlay .fill').getAttribute('aria-label')")
    assert "scan 2, 130 points; scan 4, 130 points; scan 7, 130 points" in drawn
    runs.js("document.querySelector('.sides tr[data-key=key-7] input').click()")
    runs.wait("document.querySelector('.overlay h3').innerText === 'Difference to scan 7'")
    assert "against=key-7" in runs.js("location.hash")
    keep(runs, "overlay")
    runs.js(
        "const axis = document.querySelector('.overlay select'); "
        "axis.value = 'e0'; axis.dispatchEvent(new Event('change'))"
    )
    drawn = runs.js("document.querySelector('.overlay .fill').getAttribute('aria-label')")
    assert "against energy from e0, eV" in drawn
    runs.js("document.querySelector('.overlay').dataset.light = 1")
    runs.look(dark=True)
    runs.wait("document.querySelectorAll('.overlay:not([data-light]) .uplot').length === 2")
    keep(runs, "overlay-dark")
    runs.js("document.querySelector('.sides tr[data-key=key-4] button').click()")
    runs.wait("document.querySelectorAll('.sides tbody tr').length === 2")
    assert runs.troubles == []


def test_a_reference_file_is_drawn_beside_the_scans(runs: Any, keep: Keep) -> None:
    overlaid(runs, "key-2", "key-3")
    runs.js(DROP % (json.dumps(COLUMNS), "glass.dat"))
    runs.wait("document.querySelectorAll('.sides tbody tr').length === 3")
    shown = text(runs, ".sides")
    assert "glass.dat" in shown and "file, normalised here" in shown
    assert "files=reference." in runs.js("location.hash")
    keep(runs, "overlay-file")
    runs.js(DROP % (json.dumps("no numbers at all"), "letter.txt"))
    runs.wait("document.querySelector('.sides [role=alert]').innerText.includes('letter.txt')")
    assert runs.js("document.querySelectorAll('.sides tbody tr').length") == 3
    assert runs.troubles == []


COLUMNS = "# energy mu\n" + "\n".join(
    f"{e:.3f} {m:.6f}"
    for e, m in zip(ENERGY, 0.3 + silica("Si", "K").mu(ENERGY, pressure=0.0, fwhm=0.9), strict=True)
)
DROP = """
(() => {
  const data = new DataTransfer();
  data.items.add(new File([%s], %r));
  const options = {dataTransfer: data, cancelable: true};
  document.querySelector("main").dispatchEvent(new DragEvent("drop", options));
})()
"""


FIT = ".sides header button"


def test_one_scan_is_fitted_by_the_others(runs: Any, keep: Keep) -> None:
    overlaid(runs, "key-5", "key-2", "key-7")
    runs.js(f"document.querySelector({FIT!r}).click()")
    runs.wait("document.querySelector('.under').innerText.includes('R-factor')")
    shown = text(runs, ".under")
    assert "scan 5 = " in shown and "scan 2" in shown and "± " in shown
    assert text(runs, ".overlay h3") == "scan 5 less the fit"
    drawn = runs.js("document.querySelector('.overlay .fill').getAttribute('aria-label')")
    assert "sum of the others" in drawn
    keep(runs, "fit")
    runs.js("document.querySelector('.sides tr[data-key=key-2] input').click()")
    runs.wait("document.querySelector('.under').innerText.includes('scan 2 = ')")
    runs.js(f"document.querySelector({FIT!r}).click()")
    runs.wait("document.querySelector('.under').innerText === ''")
    assert text(runs, ".overlay h3") == "Difference to scan 2"
    assert runs.troubles == []


def type_in(browser: Any, selector: str, value: str) -> None:
    """Type a number into a field and leave it."""
    browser.js(
        f"(() => {{ const field = document.querySelector({selector!r}); field.value = {value!r}; "
        "field.dispatchEvent(new Event('change')); })()"
    )


SHIFT = ".sides .options input[type=number]"
SUM = ".sides .options input[type=checkbox]"


def test_a_fit_may_shift_and_have_a_sum_of_one(runs: Any, keep: Keep) -> None:
    overlaid(runs, "key-4", "key-2", "key-7", "key-5")
    assert runs.js("document.querySelector('.sides .options').hidden")
    runs.js(f"document.querySelector({FIT!r}).click()")
    runs.wait("document.querySelector('.under').innerText.includes('sum')")
    assert "shift, eV" not in text(runs, ".under")
    runs.js(f"document.querySelector({SUM!r}).click()")
    runs.wait("document.querySelector('.under [title=\"as you asked\"] dd') !== null")
    assert text(runs, ".under [title='as you asked'] dd") == "1"
    assert text(runs, ".overlay h3") == "scan 4 less the fit"  # nothing is shifted unasked
    type_in(runs, SHIFT, "0.03")
    runs.wait("document.querySelector('.under').innerText.includes('shift, eV')")
    assert "−0.03 eV is at the bound: allow more, or distrust it" in text(runs, ".under")
    type_in(runs, SHIFT, "1.5")
    runs.wait("!document.querySelector('.under').innerText.includes('at the bound')")
    type_in(runs, SHIFT, "51")  # the browser says why not, and the fit stays
    assert not runs.js(f"document.querySelector({SHIFT!r}).validity.valid")
    moved = text(runs, ".overlay h3")
    assert moved.startswith("scan 4 shifted by −0.") and moved.endswith(" eV less the fit")
    drawn = runs.js("document.querySelector('.overlay .fill').getAttribute('aria-label')")
    assert moved.removesuffix(" less the fit") in drawn and "scan 2, 130 points" in drawn
    keep(runs, "fit-shifted")
    type_in(runs, SHIFT, "")
    runs.js(f"document.querySelector({SUM!r}).click()")
    runs.wait("document.querySelector('.overlay h3').innerText === 'scan 4 less the fit'")
    runs.js(f"document.querySelector({FIT!r}).click()")
    runs.wait("document.querySelector('.sides .options').hidden")
    assert runs.troubles == []


COMPONENTS = ".sides header button:last-child"
ROWS = "document.querySelectorAll('.components tbody tr').length"


def test_the_components_of_chosen_scans_are_found(runs: Any, keep: Keep) -> None:
    overlaid(runs, "key-5", "key-2")
    assert runs.js(f"document.querySelector({COMPONENTS!r}).disabled")
    for key in ("key-4", "key-7"):
        tick(runs, key)
    runs.wait(f"!document.querySelector({COMPONENTS!r}).disabled")
    runs.js(f"document.querySelector({COMPONENTS!r}).click()")
    runs.wait("document.querySelectorAll('.components .uplot').length === 2")
    shown = text(runs, ".components")
    assert "components besides the mean: 2 by the threshold of noise, 2 by the indicator" in shown
    assert "CN by the model" in shown and "score 2" in shown and "score 3" not in shown
    names = (
        "[...document.querySelectorAll('.components td:first-child')].map((one) => one.innerText)"
    )
    assert runs.js(names) == ["scan 5", "scan 2", "scan 4", "scan 7"]
    label = "document.querySelector('.components .curves').getAttribute('aria-label')"
    assert "component 1" in runs.js(label) and "component 2" in runs.js(label)
    keep(runs, "components")
    runs.js(DROP % (json.dumps(COLUMNS), "glass.dat"))  # files take part
    runs.wait(f"{ROWS} === 5")
    assert "glass.dat" in text(runs, ".components tbody")
    for width, height in ((1280, 720), (820, 1180), (390, 844)):
        runs.look(width, height)
        assert runs.js("document.documentElement.scrollWidth <= innerWidth"), width
    assert runs.troubles == []
    runs.js("document.querySelector('.runs .chosen button').click()")  # choose none
    runs.wait("document.querySelector('.components').hidden")
    overlaid(runs, "key-5", "key-2")
    words = "found 2 spectra; expected 3 or more"
    runs.wait(f"document.querySelector('.components .why').innerText.includes({words!r})")
    runs.js("document.querySelector('.components [aria-label=\"close the components\"]').click()")
    runs.wait("document.querySelector('.components').hidden")
    # the browser itself logs an answer that is a refusal
    assert [one for one in runs.troubles if "422" not in one] == []


MERGE = """[...document.querySelectorAll(".runs .chosen button")]
    .find((button) => button.innerText === "merge")"""


def test_chosen_scans_are_merged(runs: Any, keep: Keep) -> None:
    assert runs.js(f"{MERGE}.hidden")
    tick(runs, "key-2")
    tick(runs, "key-3")  # of glass whose structure has not changed yet
    runs.js(f"{MERGE}.click()")
    runs.wait("document.querySelectorAll('.merging tbody tr').length === 2")
    runs.wait("document.querySelector('.merging a') !== null")
    shown = text(runs, ".merging")
    assert "Mean of scan 2 and scan 3" in shown and "CN 4" in shown
    runs.wait("document.querySelector('.list').innerText.includes('merge of 2, 3')")
    keep(runs, "merge")
    runs.js("document.querySelector('.merging a').click()")
    runs.wait(READY)
    runs.wait("document.querySelector('.head h2').innerText.startsWith('Merge of 2, 3')")
    assert "2 scans" in text(runs, ".head")
    assert runs.troubles == []


def test_a_merge_moves_scans_as_far_as_is_asked_for(runs: Any, keep: Keep) -> None:
    tick(runs, "key-2")
    tick(runs, "key-3")
    merged = "document.querySelector('.merging .why').innerText"
    runs.js(f"{MERGE}.click()")
    runs.wait(f"{merged}.includes('(moved by 0.5 eV at most)')")  # as usual
    type_in(runs, ".chosen .shift input", "51")
    runs.js(f"{MERGE}.click()")
    assert not runs.js("document.querySelector('.chosen .shift input').validity.valid")
    assert "0.5 eV" in runs.js(merged)  # nothing was asked of the service
    type_in(runs, ".chosen .shift input", "1.25")
    runs.js(f"{MERGE}.click()")
    runs.wait(f"{merged}.includes('(moved by 1.25 eV at most)')")
    keep(runs, "merge-shift")
    type_in(runs, ".chosen .shift input", "0")
    runs.js(f"{MERGE}.click()")
    runs.wait(f"{merged}.includes('(nothing aligned)')")
    assert runs.js("document.querySelectorAll('.merging tbody tr').length") == 2
    assert runs.troubles == []


def test_unlike_scans_are_merged_when_asked_again(runs: Any, keep: Keep) -> None:
    tick(runs, "key-2")
    tick(runs, "key-7")
    runs.js(f"{MERGE}.click()")
    runs.wait("document.querySelector('.merging [role=alert]') !== null")
    assert "is no repeat of scan" in text(runs, ".merging")
    keep(runs, "merge-refused")
    runs.js("document.querySelector('.merging [role=alert] ~ button').click()")
    runs.wait("document.querySelector('.merging a') !== null")
    assert "unlike the others by" in text(runs, ".merging")
    runs.js("document.querySelector('.merging [aria-label=\"close the merge\"]').click()")
    assert runs.js("document.querySelector('.merging').hidden")
    # the browser itself logs an answer that is a refusal
    assert [one for one in runs.troubles if "409" not in one] == []


def test_no_view_of_runs_is_wider_than_the_window(runs: Any, keep: Keep) -> None:
    overlaid(runs, "key-2", "key-3", "key-7")
    for width, height in ((1280, 720), (820, 1180), (390, 844)):
        runs.look(width, height)
        assert runs.js("document.documentElement.scrollWidth <= innerWidth"), width
        keep(runs, f"overlay-{width}")
    assert runs.troubles == []
