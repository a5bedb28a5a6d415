"""The page in a real browser. ``NEAREDGE_SCREENSHOTS=FOLDER`` keeps pictures of every view."""

import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nearedge.callbacks.instrument import Instrument, XanesSettings
from nearedge.callbacks.measurement import Measurement, Run
from nearedge.callbacks.normalise import normalise
from nearedge.callbacks.scalars import MAX_NAME, MAX_SCALARS
from nearedge.models import Inversion, Quality, Reason, Rejected, Samples, Spectrum, Technique
from nearedge.models.answering.estimate import Calibration, estimate
from nearedge.sim.silica import Specimen, silica
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.ledger.row import Row
from nearedge.streaming.page.feed import Feed
from nearedge.streaming.page.web import serving_page
from nearedge.streaming.service.metrics import Metrics

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ENERGY = np.linspace(1812.0, 1900.0, 130)
READY = "document.querySelector('.legend') && !document.querySelector('.panels .older')"
Keep = Callable[[Any, str], None]

PARTS = ("CN", "bond, Å", "As measured", "Normalised", "Surroundings", "12 samples", "O full")
PRESSURES = (0.0, 8.0, 16.0, 24.0, 32.0, 40.0)
SAMPLES, ATOMS = 12, 20
INSTRUMENT: dict[str, Any] = {
    "technique": "xanes",
    "absorber": "Si",
    "edge": "K",
    "signal": "mu",
    "roles": {"energy": "energy", "mu": "mu"},
}
LONG = "sample." + "m" * (MAX_NAME - 7)


def measured(number: int, pressure: float, specimen: Specimen, *, points: int = 130) -> Measurement:
    mu = 0.3 + specimen.mu(ENERGY, pressure=pressure, fwhm=0.6)
    uid = f"{number:08x}-0000-4000-8000-000000000000"
    return Measurement(
        run=Run(
            uid=uid, scan_id=number, time=1.76e9 + 60 * number, start={"sample_name": "silica"}
        ),
        stream="primary",
        spectrum="0",
        columns={"energy": ENERGY[:points], "mu": mu[:points]},
        complete=True,
        final=points == len(ENERGY),
        time=1.76e9 + 60 * number,
        context={"pressure": pressure, "ring-current": 400.0 - number, LONG: 2.0},
        units={"pressure": "GPa", "ring-current": "mA"},
    )


def drawn(pressure: float, specimen: Specimen, rng: np.random.Generator) -> Samples:
    """True sites of that pressure, each turned and shaken: what a good model would draw."""
    shares = specimen.shares(pressure)
    sites = [site for site, _ in shares if len(site.species) >= ATOMS]
    weights = np.array([share for site, share in shares if len(site.species) >= ATOMS])
    chosen = rng.choice(len(sites), SAMPLES, p=weights / weights.sum())
    turns = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in chosen]
    clusters = [sites[k].positions[:ATOMS] @ turn for k, turn in zip(chosen, turns, strict=True)]
    shaken = np.stack(clusters) + rng.normal(0, 0.06, (SAMPLES, ATOMS, 3))
    return Samples(
        species=np.stack([sites[k].species[:ATOMS] for k in chosen]),
        positions=shaken.astype(np.float32),
        weights=np.full(SAMPLES, 1 / SAMPLES),
    )


def answered(number: int, pressure: float, specimen: Specimen) -> Row:
    measurement = measured(number, pressure, specimen)
    spectrum = Spectrum(
        energy=measurement.columns["energy"],
        mu=measurement.columns["mu"],
        technique=Technique.XANES,
        absorber="Si",
        edge="K",
    )
    outcome = normalise(spectrum, XanesSettings.model_validate({}))
    samples = drawn(pressure, specimen, np.random.default_rng(number))
    inversion = Inversion(
        absorber="Si",
        edge="K",
        samples=samples,
        estimates=estimate(samples, absorber="Si", calibration=Calibration()),
        grid=np.arange(3.0),
        condition=np.arange(3.0),
        ood_score=0.2,
        ood_flag=False,
        misfit=None,
        model="0123456789abcdef",
        seed=number,
        quality=Quality.DEFAULT,
        seconds=0.8,
    )
    return Row(
        key=f"key-{number}",
        status=State.COMPLETE,
        measurement=measurement,
        outcome=outcome,
        inversion=inversion,
        error=None,
        stages={"arrive": 0.02, "invert": 0.8, "write": 0.3},
    )


def refused(number: int, specimen: Specimen) -> Row:
    return Row(
        key=f"key-{number}",
        status=State.REJECTED,
        measurement=measured(number, 0.0, specimen),
        outcome=Rejected(reason=Reason.NO_EDGE, detail="found no edge between 1812 and 1900 eV"),
        inversion=None,
        error=None,
        stages={},
    )


@pytest.fixture(scope="module")
def specimen() -> Specimen:
    return silica("Si", "K")


@pytest.fixture(scope="module")
def feed(specimen: Specimen) -> Feed:
    feed = Feed()
    feed(refused(1, specimen))
    for number, pressure in enumerate(PRESSURES, 2):
        feed(answered(number, pressure, specimen))
    return feed


@contextmanager
def page_of(feed: Feed, *, merger: Any = None) -> Iterator[str]:
    """Serve the page of a service that is sound."""
    ledger, metrics = Ledger(":memory:"), Metrics()
    metrics.watch(ledger)
    worker = SimpleNamespace(pid=1, beat_age_s=0.1, restarts=0, problem=None)
    sound = {"ledger": None, "worker": None}
    service: Any = SimpleNamespace(
        ledger=ledger, metrics=metrics, worker=worker, checks=lambda: sound, silence=None
    )
    with serving_page(
        service,
        feed,
        title="silica under pressure",
        context=("pressure",),
        instrument=Instrument.model_validate(INSTRUMENT),
        merger=merger,
    ) as served:
        assert served is not None
        yield served
    ledger.close()


@pytest.fixture(scope="module")
def address(feed: Feed) -> Iterator[str]:
    with page_of(feed) as served:
        yield served


@pytest.fixture
def page(browser: Any, address: str) -> Any:
    """The browser at the newest result."""
    browser.look()
    browser.open(f"{address}#now")
    browser.wait(READY)
    browser.wait("document.querySelector('.stage canvas') !== null")
    return browser


def text(browser: Any, selector: str = "main") -> str:
    return str(browser.js(f"document.querySelector({selector!r}).innerText"))


def test_the_newest_answer_is_shown_with_all_its_parts(page: Any, keep: Keep) -> None:
    shown = text(page)
    assert "Scan 7, Si K edge" in shown
    for words in PARTS:
        assert words in shown
    assert page.js("document.querySelectorAll('.uplot canvas').length") == 3
    assert page.js("document.querySelectorAll('.cn .bar-fill').length") >= 1
    keep(page, "now")
    page.look(dark=True)
    page.wait(READY)
    keep(page, "now-dark")
    page.look(820, 1180)
    page.wait(READY)
    keep(page, "now-tablet")
    assert page.troubles == []  # no uncaught error, nothing that the policy refused


def test_nothing_lies_outside_the_window(page: Any) -> None:
    for width, height in ((1280, 720), (820, 1180), (400, 800)):
        page.look(width, height)
        for view in ("now", "trend", "health"):
            page.js(f"location.hash = {view!r}")
            page.wait(f"document.title === 'nearedge: {view}'")
            assert page.js("document.documentElement.scrollWidth <= innerWidth"), (view, width)


def test_every_view_is_reached_with_the_keyboard(page: Any, keep: Keep) -> None:
    for key, words in (
        ("2", "against"),
        ("3", "no edge found"),
        ("4", "Worker"),
        ("1", "Surroundings"),
    ):
        page.press(key)
        page.wait(f"document.querySelector('main').innerText.includes({words!r})")
        keep(page, {"2": "trend", "3": "runs", "4": "health", "1": "now-again"}[key])
    page.press("ArrowLeft")
    page.wait("document.querySelector('main').innerText.includes('Scan 6')")
    page.press("f")
    page.wait("document.querySelector('main').innerText.includes('Scan 7')")


def test_a_rejection_tells_its_reason_and_shows_what_was_measured(page: Any) -> None:
    page.js("location.hash = 'now/key-1'")
    page.wait("document.querySelector('main').innerText.includes('found no edge')")
    page.wait("document.querySelectorAll('.raw .uplot').length === 1")
    assert "no answer" in text(page, ".cn")


def test_a_link_to_an_unknown_key_says_so(page: Any) -> None:
    page.js("location.hash = 'now/nobody-knows'")
    page.wait("document.querySelector('.head').innerText.includes('no spectrum with the key')")
    assert "Scan" not in text(page, ".head")
    page.troubles.clear()  # the browser logs the 404 itself


def test_answers_of_different_worth_look_different(
    browser: Any, specimen: Specimen, keep: Keep
) -> None:
    feed, doubtful = Feed(), answered(20, 0.0, specimen)
    for row in (refused(1, specimen), answered(2, 8.0, specimen)):
        feed(row)
    feed(replace(doubtful, inversion=replace(doubtful.inversion, ood_flag=True)))
    with page_of(feed) as address:
        browser.look()
        browser.open(f"{address}#runs")
        browser.wait("document.querySelectorAll('tbody tr').length === 3")
        states = browser.js("[...document.querySelectorAll('tbody .chip')].map((c) => c.className)")
        assert states == ["chip doubt", "chip good", "chip warn"]
        keep(browser, "worth")
        browser.js("location.hash = 'now/key-20'")
        browser.wait("document.querySelector('.head').dataset.verdict === 'doubt'")
        assert "do not rely on it" in text(browser, ".head")
        keep(browser, "doubtful")
    browser.troubles.clear()


@pytest.mark.parametrize(
    ("half", "decimals"), [(0.03, 2), (0.3, 1), (1.2, 1)], ids=["sure", "unsure", "a guess"]
)
def test_a_mean_of_whole_numbers_has_the_decimals_that_its_interval_bears(
    page: Any, half: float, decimals: int
) -> None:
    value = {"mean": 5.98, "mean_lo": 5.98 - half, "mean_hi": 5.98 + half, "set": [6]}
    shown = page.js(f"import('/static/format.js').then((f) => f.decimals({json.dumps(value)}, 2))")
    assert shown == decimals


def test_a_dark_run_is_drawn_point_by_point(page: Any) -> None:
    columns = {"energy": [1839.3] * 3, "i0": [3.0, 4.0, 5.0], "it": [2.0, 2.0, 2.0]}
    drawn = page.js(f"import('/static/raw.js').then((raw) => raw.rawLines({json.dumps(columns)}))")
    assert drawn["along"] == "point, all at 1839.3 eV"
    assert drawn["lines"][0]["x"] == [0, 1, 2]


def test_on_a_phone_no_flag_and_no_row_is_wider_than_the_window(
    browser: Any, specimen: Specimen, keep: Keep
) -> None:
    feed, doubtful = Feed(), answered(20, 0.0, specimen)
    flags = ("maybe-self-absorbed", "unlike-averaged")
    feed(refused(1, specimen))
    feed(replace(doubtful, inversion=replace(doubtful.inversion, ood_flag=True, flags=flags)))
    with page_of(feed) as address:
        browser.look(390, 844)
        browser.open(f"{address}#now")
        browser.wait("document.querySelectorAll('.head .flags .chip').length === 3")
        assert browser.js(INSIDE % ".head .flags .chip")
        keep(browser, "doubtful-phone")
        browser.js("location.hash = 'runs'")
        browser.wait("document.querySelectorAll('tbody tr').length === 2")
        assert browser.js(INSIDE % "tbody td, tbody .chip")
        assert "no edge found" in text(browser)
        keep(browser, "runs-phone")
    browser.troubles.clear()


INSIDE = (
    "[...document.querySelectorAll('%s')].every((one) => "
    "one.getBoundingClientRect().right <= innerWidth)"
)


def test_a_service_that_went_is_told_everywhere(
    browser: Any, specimen: Specimen, keep: Keep
) -> None:
    gone = Feed()
    gone(answered(2, 8.0, specimen))
    with page_of(gone) as address:
        browser.look()
        browser.open(f"{address}#now")
        browser.wait(READY)
        assert browser.js("document.getElementById('gone').hidden")
    browser.wait("!document.getElementById('gone').hidden")
    for view in ("now", "trend", "runs", "health"):
        browser.js(f"location.hash = {view!r}")
        browser.wait(f"document.title === 'nearedge: {view}'")
        assert "does not answer" in text(browser, "#gone")
        assert browser.js("document.querySelector('main').classList.contains('past')")
    assert browser.js("document.querySelectorAll('main .chip.good').length") == 0
    keep(browser, "gone")
    browser.troubles.clear()  # connections that were refused


def test_a_trend_is_drawn_against_a_scalar_of_the_baseline(page: Any, keep: Keep) -> None:
    page.js("location.hash = 'trend'")
    page.wait("document.querySelectorAll('.charts .uplot').length >= 3")
    groups = page.js(
        "[...document.querySelectorAll('.controls optgroup')].map((group) => "
        "[group.label, ...[...group.children].map((option) => option.value)])"
    )
    assert groups == [
        ["measured along", "pressure"],
        ["baseline and metadata", "ring-current"],  # what is the same for all is not offered
    ]
    page.choose("ring-current")
    page.js("document.querySelector('.charts').focus()")
    page.press("Home")  # the least current: that of the last scan
    assert "scan 7" in text(page, ".trend .note")
    assert "ring-current 393 mA" in text(page, ".trend .note")
    page.press("End")
    assert "scan 2" in text(page, ".trend .note")
    assert LONG not in text(page, ".trend .note")  # dozens would hide what matters
    keep(page, "trend-baseline")
    assert "x=ring-current" in page.js("location.hash")
    page.js("window.before = true; location.reload()")  # the choice is part of the address
    page.wait("!window.before && document.querySelectorAll('.charts .uplot').length >= 3")
    assert page.js("document.querySelector('.controls select').value") == "ring-current"
    page.choose(".scan")
    assert page.troubles == []


@pytest.mark.parametrize("dark", [False, True])
def test_the_cluster_is_turned_with_the_keyboard(page: Any, keep: Keep, dark: bool) -> None:
    page.look(dark=dark)
    page.wait(READY)
    reached = reach_with_tab(page, "stage")
    assert reached["role"] == "application"
    assert "Arrow keys turn them, plus and minus zoom, Home resets" in reached["label"]
    assert reached["outline"] == "solid"  # the ring
    assert "arrow keys turn" in reached["hint"] and reached["shown"] == "1"
    first = drawn_cluster(page)
    seen = {first}
    for key in ("ArrowLeft", "ArrowUp", "+"):
        page.press(key)
        seen.add(drawn_cluster(page))
    assert len(seen) == 4
    keep(page, f"cluster-keys{'-dark' if dark else ''}")
    for key in ("-", "ArrowDown", "ArrowRight"):  # back the way it came
        page.press(key)
    assert drawn_cluster(page) == first
    for key, reset in (("ArrowRight", "Home"), ("-", "0")):
        page.press(key)
        assert drawn_cluster(page) != first
        page.press(reset)
        assert drawn_cluster(page) == first
    assert "Scan 7" in text(page)  # the arrows stepped to no other spectrum
    assert page.troubles == []


def reach_with_tab(browser: Any, name: str) -> dict[str, str]:
    """Press Tab until the element of a class has the focus; what it tells then."""
    for _ in range(40):
        browser.press("Tab")
        if browser.js(f"document.activeElement.classList.contains({name!r})"):
            return dict(
                browser.js(
                    "(() => { const on = document.activeElement; "
                    "const hint = on.querySelector('.hint'); return {"
                    "role: on.getAttribute('role'), label: on.getAttribute('aria-label'), "
                    "outline: getComputedStyle(on).outlineStyle, hint: hint.innerText, "
                    "shown: getComputedStyle(hint).opacity}; })()"
                )
            )
    raise AssertionError(f"no {name} in 40 presses of Tab")


def drawn_cluster(browser: Any) -> str:
    """What the 3-D canvas shows."""
    return str(browser.js("document.querySelector('.stage canvas').toDataURL()"))


# when the figures of scan 8 are there, and when its clusters and distributions are
WATCH = """
window.seen = {};
window.began = performance.now();
new MutationObserver(() => {
  const what = document.querySelector(".what")?.innerText ?? "";
  if (!what.includes("Scan 8") || !what.includes("answered")) return;
  const spent = performance.now() - window.began;
  if (document.querySelector(".head .figure")) window.seen.head ??= spent;
  if (!document.querySelector(".panels .older")) window.seen.whole ??= spent;
}).observe(document.querySelector("main"), {subtree: true, childList: true, attributes: true});
0
"""


def test_a_scan_grows_and_its_result_comes_without_a_reload(
    page: Any, feed: Feed, specimen: Specimen, keep: Keep, slowness: Callable[[], float]
) -> None:
    page.js("window.witness = true")
    short = Rejected(reason=Reason.TOO_SHORT, detail="the scan ends 2 eV past the edge")
    feed.show_partial(measured(8, 48.0, specimen, points=60), short, None)
    page.wait("document.querySelector('main').innerText.includes('running, 60 points')")
    page.wait("document.querySelector('#pulse').innerText.includes('scan running')")
    keep(page, "running")
    page.js(WATCH)
    feed(answered(8, 48.0, specimen))
    page.wait("window.seen.head !== undefined && window.seen.whole !== undefined")
    seen = page.js("window.seen")
    print(f"figures after {seen['head']:.0f} ms, everything after {seen['whole']:.0f} ms")
    assert seen["head"] < 1000.0 * slowness()  # ms
    assert "Scan 8" in text(page)
    assert page.js("window.witness") is True


# ms from an input until the frame that shows what became of it is drawn
SPENT = """
window.spent = (act) => new Promise((done) => {
  const began = performance.now();
  act();
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
});
window.over = () => document.querySelector(".u-over");
window.mouse = (kind, x) => {
  const box = over().getBoundingClientRect();
  const place = { clientX: box.left + x * box.width, clientY: box.top + 20 };
  over().dispatchEvent(new MouseEvent(kind, { bubbles: true, ...place }));
};
0
"""
INTERACTIONS = {
    "moving over points": "mouse('mousemove', {x})",
    "choosing a figure": "document.querySelector('.controls button').click()",
    "zooming and back": "mouse('mousemove', 0.1); mouse('mousedown', 0.1); mouse('mousemove', {x});"
    " document.dispatchEvent(new MouseEvent('mouseup')); mouse('dblclick', {x})",
    "stepping with a key": "document.querySelector('.charts')"
    ".dispatchEvent(new KeyboardEvent('keydown', {{key: 'ArrowRight'}}))",
}
POINTS = np.linspace(0.15, 0.9, 10).round(3)
#: ms that may pass until it is drawn; another figure draws all charts anew.
AT_ONCE, REDRAWN = 100.0, 250.0


def test_a_thousand_results_stay_smooth(
    page: Any, feed: Feed, keep: Keep, slowness: Callable[[], float]
) -> None:
    told = next(one for one in feed.summaries() if one["cn"])
    context = {f"scalar-{k}": float(k) for k in range(2 * MAX_SCALARS)}  # as many as there may be
    many = [
        {**told, "key": f"old-{n}", "scan": -n, "time": told["time"] - n, "context": context}
        for n in range(1000)
    ]
    feed.load(many)
    page.js("location.hash = 'trend'")
    answers = sum(one["cn"] is not None for one in feed.summaries())
    page.wait(f"document.querySelector('main').innerText.includes('{answers} spectra')")
    page.js(SPENT)
    for name, act in INTERACTIONS.items():
        spent = [page.js(f"window.spent(() => {{ {act.format(x=x)} }})") for x in POINTS]
        print(f"{name}: {statistics.median(spent):.1f} ms, at most {max(spent):.1f} ms")
        longest = REDRAWN if name == "choosing a figure" else AT_ONCE
        assert statistics.median(spent) < longest * slowness(), name
    keep(page, "trend-1000")
    page.js("location.hash = 'runs'")
    page.wait("document.querySelectorAll('tbody tr').length === 300")
    assert page.troubles == []
