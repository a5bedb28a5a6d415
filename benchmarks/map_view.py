"""How fast the view of maps answers in a browser: ``python benchmarks/map_view.py ADDRESS KEY``.

The address is that of the page of a running service, the key that of a map in its catalog. Needs
Chromium.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "browser"))

from conftest import chromium  # type: ignore[import-not-found]

DRAWING = """(async () => {
  const canvas = document.querySelector('.mapcanvas'), box = canvas.getBoundingClientRect();
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const at = (k) => ({
    clientX: box.x + box.width * (0.3 + 0.01 * k), clientY: box.y + box.height * 0.5,
    bubbles: true, cancelable: true, pointerId: 1 });
  canvas.setPointerCapture = () => {};
  const timed = async (count, act) => {
    const times = [];
    for (let k = 0; k < count; k++) {
      await frame();
      await frame();
      const began = performance.now();
      canvas.dispatchEvent(act(k));
      await frame();
      await new Promise((done) => setTimeout(done));
      times.push(performance.now() - began);
    }
    return times;
  };
  const hover = await timed(30, (k) => new PointerEvent('pointermove', at(k)));
  const zoom = await timed(10, () => new WheelEvent('wheel', { deltaY: -1, ...at(5) }));
  canvas.dispatchEvent(new PointerEvent('pointerdown', at(0)));
  const pan = await timed(30, (k) => new PointerEvent('pointermove', at(k + 1)));
  canvas.dispatchEvent(new PointerEvent('pointercancel', at(0)));
  return { hover, zoom, pan };
})()"""
PIXEL = """(async () => {
  const title = document.querySelector('.picked h2'), before = title.textContent;
  const began = performance.now();
  dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight' }));
  while (title.textContent === before) await new Promise((done) => setTimeout(done, 2));
  return performance.now() - began;
})()"""
REGION = """(async () => {
  const began = performance.now();
  const answer = await fetch('/api/maps/KEY/region?from=NUMBER,60&to=99,90&answer=1');
  const told = await answer.json();
  return [performance.now() - began, told.pixels];
})()"""


def main(address: str, key: str) -> None:
    """Print median and largest times, ms."""
    with tempfile.TemporaryDirectory() as folder, chromium(Path(folder)) as browser:
        browser.look()
        browser.open(f"{address}#map/{key}")
        browser.wait("Boolean(document.querySelector('.mapcard > p.soft')?.hidden)")
        for what, times in browser.js(DRAWING).items():
            say(what, times)
        pixels = []
        for _ in range(10):
            pixels.append(browser.js(PIXEL))
            time.sleep(0.6)
        print(f"first pixel: {pixels[0]:.0f} ms")
        say("pixel", pixels[2:])
        time.sleep(5)  # until the clusters of the last pixel are there
        found: list[Any] = [
            browser.js(REGION.replace("KEY", key).replace("NUMBER", str(n))) for n in range(60, 70)
        ]
        say(f"rectangle of up to {found[0][1]} pixels", [one[0] for one in found])


def say(what: str, times: list[float]) -> None:
    """Print one line."""
    print(f"{what}: median {statistics.median(times):.0f} ms, largest {max(times):.0f} ms")


if __name__ == "__main__":
    main(*sys.argv[1:])
