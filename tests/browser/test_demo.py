"""The demo's page while it measures: the pictures that the README and docs/page.md show.

``NEAREDGE_SCREENSHOTS=docs/figures python -m pytest tests/browser/test_demo.py`` makes them anew.
"""

import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [
    pytest.mark.browser,
    pytest.mark.system,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (files("nearedge.models.weights") / "siox.safetensors").is_file(),
        reason="no weights are shipped",
    ),
]

SCANS = 8
# When each answer is on the page, against when it was inverted, seconds; its way into the catalog,
# against which this was measured before, takes about as long again.
DELAYS = """
(async () => {
  const store = await import("/static/store.js");
  window.delays = {};
  new MutationObserver(() => {
    const what = document.querySelector(".what")?.innerText ?? "";
    const shown = what.match(/figures are of scan (\\d+)/) ?? what.match(/Scan (\\d+)/);
    const told = shown && store.sorted().find((one) => String(one.scan) === shown[1]);
    if (!told?.cn || told.scan in window.delays) return;
    window.delays[told.scan] = Date.now() / 1000 - told.time - told.latency;
  }).observe(document.querySelector("main"), {subtree: true, childList: true});
})()
"""
# three scans ticked, the middle one fitted by the others
COMPARED = """
(async () => {
  const chosen = await import("/static/chosen.js");
  const store = await import("/static/store.js");
  const keys = store.sorted().filter((one) => one.cn).map((one) => one.key);
  const middle = keys[keys.length >> 1];
  chosen.choose([keys[0], middle, keys.at(-1)]);
  chosen.compareWith(middle);
  document.querySelector(".sides header button").click();
})()
"""
WHAT = "document.querySelector('.what')?.innerText ?? ''"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Run a demo until the end of the test; the address of its page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = tmp_path / "kept"
    options = ["--stay", f"--scans={SCANS}", f"--keep={kept}"]
    command = [sys.executable, "-m", "nearedge.streaming", "demo", *options]
    environment = {**os.environ, "NEAREDGE__SERVICE__PAGE_PORT": str(port)}
    with (tmp_path / "demo.log").open("wb") as log:
        demo = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        yield awaited(f"http://127.0.0.1:{port}/", demo)
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(60)
    if folder := os.environ.get("NEAREDGE_SCREENSHOTS"):
        shutil.copy(kept / "demo.png", folder)


def awaited(address: str, demo: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and demo.poll() is None:
        try:
            httpx.get(f"{address}livez", trust_env=False).raise_for_status()
        except httpx.HTTPError:  # or something is still being started
            time.sleep(0.2)
        else:
            return address
    raise TimeoutError(f"the demo served no page; it ended with {demo.poll()}")


def test_the_structure_comes_out_of_the_scan(
    browser: Any,
    address: str,
    keep: Callable[[Any, str], None],
    slowness: Callable[[], float],
) -> None:
    browser.look()
    browser.open(f"{address}#now")
    browser.wait(f"({WHAT}).includes('running')", timeout_s=180)
    browser.js(DELAYS)
    browser.wait("document.querySelectorAll('.figure').length > 3", timeout_s=180)
    last = f"Scan {SCANS + 1}"  # scan 1 is the dark
    browser.wait(f"({WHAT}).includes({last!r}) && !({WHAT}).includes('running')", timeout_s=300)
    browser.wait("document.querySelector('.stage canvas') && !document.querySelector('.older')")
    time.sleep(1.0)  # for the renderer, which says nothing when it is done
    keep(browser, "page-now")
    browser.js("location.hash = 'trend'")
    browser.wait(f"document.querySelector('main').innerText.includes('{SCANS} spectra')")
    browser.choose("press-pressure")
    browser.wait("document.querySelectorAll('.charts .uplot').length >= 3")
    keep(browser, "page-trend")
    assert axes_offered(browser)[:3] == [".scan", ".time", "press-pressure"]
    assert {"ring-current", "simulation.truth.cn_mean"} <= set(axes_offered(browser))
    browser.choose("ring-current")  # of the baseline
    assert f"{SCANS} spectra" in browser.js("document.querySelector('.trend .note').innerText")
    browser.js("location.hash = 'runs'")
    browser.js(COMPARED)
    browser.wait("document.querySelector('.under')?.innerText.includes('R-factor')")
    keep(browser, "page-runs")
    browser.js("location.hash = 'health'")
    browser.wait("document.querySelector('main').innerText.includes('ready')")
    assert browser.troubles == []
    delays = browser.js("window.delays")
    print({scan: round(delay, 2) for scan, delay in delays.items()})
    assert len(delays) >= SCANS - 1  # one may have been complete before the watching began
    assert statistics.median(delays.values()) < 2.0 * slowness()


def axes_offered(browser: Any) -> list[str]:
    return list(
        browser.js("[...document.querySelectorAll('.controls option')].map((o) => o.value)")
    )
