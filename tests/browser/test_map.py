"""The view of maps in a real browser, on maps that a catalog holds."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nearedge.models import Inversion, Quality, Samples
from nearedge.models.answering.estimate import Calibration, estimate
from nearedge.sim.stored_maps import ABOUT, write_small_map
from nearedge.streaming.catalog.map_shelf import MapShelf
from nearedge.streaming.catalog.maps import store_map
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.page.feed import Feed
from nearedge.streaming.page.web import serving_page
from nearedge.streaming.service.metrics import Metrics
from tests.streaming.conftest import tiled_files, tiled_server

__all__ = ["tiled_files", "tiled_server"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

Keep = Callable[[Any, str], None]


class Drawing:
    """A worker that draws four oxygens at once."""

    pid, beat_age_s, restarts, problem = 1, 0.1, 0, None

    def invert(self, spectra: Any, *, seeds: Any) -> list[Inversion]:
        corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.93
        samples = Samples(
            species=np.full((3, 4), "O"),
            positions=np.stack([corners] * 3).astype(np.float32),
            weights=np.full(3, 1 / 3),
        )
        return [
            Inversion(
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
                seed=seed,
                quality=Quality.DEFAULT,
                seconds=0.1,
            )
            for seed in seeds
        ]


@pytest.fixture(scope="module")
def box(tiled_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A catalog of two maps that all tests look at; whoever changes one puts it back."""
    box, folder = tiled_server.create_container("browser-maps"), tmp_path_factory.mktemp("maps")
    for number, (name, shape) in enumerate((("image", (8, 9)), ("series", (20,)))):
        write_small_map(folder / name, shape)
        about = ABOUT | {"written": 2.0 - number}
        store_map(box, name, folder / name, about=about, files=None)
    return box


@pytest.fixture
def page(browser: Any, box: Any) -> Iterator[Any]:
    ledger, metrics = Ledger(":memory:"), Metrics()
    metrics.watch(ledger)
    sound = {"ledger": None, "worker": None}
    service: Any = SimpleNamespace(
        ledger=ledger, metrics=metrics, worker=Drawing(), checks=lambda: sound, silence=None
    )
    with serving_page(service, Feed(), shelf=MapShelf(lambda: box)) as address:
        browser.look()
        browser.troubles.clear()
        browser.open(f"{address}#map")
        browser.wait("Boolean(document.querySelector('.mapcard > p.soft')?.hidden)")
        yield browser
    ledger.close()


def text(browser: Any, selector: str) -> str:
    return str(browser.js(f"document.querySelector({selector!r}).innerText"))


def drag(browser: Any, *path: tuple[float, float]) -> None:
    (x0, y0), (x1, y1) = path
    for kind, x, y in (("mousePressed", x0, y0), ("mouseMoved", x1, y1), ("mouseReleased", x1, y1)):
        browser.call(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1
        )


def middle(browser: Any) -> tuple[float, float]:
    x, y = browser.js(
        "(() => { const r = document.querySelector('.mapcanvas').getBoundingClientRect(); "
        "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
    )
    return float(x), float(y)


CLUSTERS = "document.querySelector('.clustercard .legend') !== null"


def test_a_pixel_opens_by_the_arrow_keys_with_its_clusters(page: Any, keep: Keep) -> None:
    assert "71 answered, 1 rejected" in text(page, ".controls")
    page.press("ArrowRight")
    page.wait(CLUSTERS)
    shown = text(page, ".picked")
    assert "y 2.00 nm, x 2.00 nm" in shown
    assert "2.000" in shown  # pixel 40: 1.6 + 0.4
    assert "no clusters drawn for the map" in shown
    assert "kept nowhere" in text(page, ".clustercard")
    keep(page, "map")
    for key in ("ArrowLeft", "ArrowUp") * 4:
        page.press(key)
    page.wait("document.querySelector('.picked').innerText.includes('Rejected: no edge found')")
    assert page.troubles == []


def test_a_rectangle_is_summed_and_inverted(page: Any) -> None:
    page.js("document.querySelector('[data-mode=rect]').click()")
    x, y = middle(page)
    drag(page, (x - 90, y - 90), (x + 90, y + 90))
    page.wait(CLUSTERS)
    shown = text(page, ".picked")
    assert "Sum of " in shown and "sum over several pixels" in shown
    assert page.troubles == []


def test_a_line_is_drawn_along_with_its_interval(page: Any) -> None:
    page.js("document.querySelector('[data-mode=line]').click()")
    x, y = middle(page)
    drag(page, (x - 100, y), (x + 100, y))
    page.wait("document.querySelector('.profile .uplot') !== null")
    assert "shaded: 90 % interval" in text(page, ".profile")
    assert "distance along the line, nm" in page.js(
        "document.querySelector('.profile .fill').getAttribute('aria-label')"
    )


def test_pinned_spectra_are_compared_and_fitted(page: Any) -> None:
    for key in ("ArrowRight", "ArrowDown"):
        page.press(key)
        page.wait(CLUSTERS)
        page.js("document.querySelector('.picked button').click()")
    assert "difference to the last" in text(page, ".spectrumcard")
    page.js("[...document.querySelectorAll('.controls button')].at(-1).click()")
    page.wait("document.querySelectorAll('select')[1].value === 'fraction:0'")
    options = text(page, ".controls")
    assert "sum of the fractions" in options
    assert page.troubles == []


def test_a_series_is_a_waterfall_with_its_trend(page: Any, keep: Keep) -> None:
    page.js("location.hash = 'map/series'")
    page.wait("document.querySelector('.profile .uplot') !== null")
    assert "Trend" in text(page, ".profile")
    page.press("ArrowRight")
    page.wait(CLUSTERS)
    assert "time 5.00 s" in text(page, ".picked")
    keep(page, "map-series")


def test_the_intensity_at_an_energy_is_drawn_along_a_series(page: Any, keep: Keep) -> None:
    page.js("location.hash = 'map/series'")
    page.wait("document.querySelector('.profile .uplot') !== null")
    page.js("document.querySelector('[data-mode=line]').click()")
    page.wait("document.querySelector('.profile').innerText.includes('Intensity along')")
    # the white line of the two end members differs most at its top, 2 eV past e0
    energy = page.js("document.querySelector('.profile input').valueAsNumber")
    assert energy == pytest.approx(1847.0, abs=1.2)
    drawn = page.js("document.querySelector('.profile .fill').getAttribute('aria-label')")
    assert drawn == "edge steps against time, s: intensity, 20 points"
    keep(page, "map-energy")
    page.js(
        "const at = document.querySelector('.profile input'); at.value = 1880; "
        "at.dispatchEvent(new Event('change'))"
    )
    assert "at 1880." in text(page, ".profile .note")
    x, y = middle(page)
    drag(page, (x, y - 40), (x, y + 40))
    assert "mean of 18" in text(page, ".profile .note")
    page.js("document.querySelector('[data-mode=pick]').click()")
    page.wait("document.querySelector('.profile').innerText.includes('Trend')")
    assert page.js("document.querySelector('.profile input').hidden")
    assert page.troubles == []


def test_a_map_that_grows_is_drawn_again(page: Any, box: Any) -> None:
    node = box["image"]
    grown = {"status": "growing", "written": 3.0, "come": 36, "answered": 35}
    node.update_metadata(grown, drop_revision=True)
    page.wait("document.querySelector('.controls').innerText.includes('growing, 50 %')")
    whole = {"status": "complete", "written": 4.0, "come": 72, "answered": 71}
    node.update_metadata(whole, drop_revision=True)
    page.wait("document.querySelector('.controls').innerText.includes('complete')")


def test_nothing_lies_outside_a_narrow_window(page: Any, keep: Keep) -> None:
    page.look(400, 800)
    page.press("ArrowRight")
    page.wait(CLUSTERS)
    assert page.js("document.documentElement.scrollWidth <= innerWidth")
    keep(page, "map-phone")


def test_an_unknown_key_says_so(page: Any) -> None:
    page.js("location.hash = 'map/unknown'")
    page.wait("document.querySelector('.mapcard').innerText.includes('no map with the key')")
