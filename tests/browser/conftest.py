"""A headless Chromium, driven over its DevTools protocol; tests are skipped without one."""

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

client = pytest.importorskip("websockets.sync.client")

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--enable-unsafe-swiftshader", "--hide-scrollbars", "--remote-debugging-port=0"),
)
START_S = 60.0


def executable() -> str | None:
    """Return the path of a Chromium, or None where none is installed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


class Browser:
    """One page of a running Chromium; ``troubles`` are its uncaught errors and log entries."""

    def __init__(self, connection: Any) -> None:
        self._connection, self._numbers = connection, itertools.count(1)
        self.troubles: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        self._connection.send(json.dumps(message))
        while True:
            told = json.loads(self._connection.recv(timeout=60))
            if told.get("id") == number:
                if "error" in told:
                    raise RuntimeError(f"{method}: {told['error']}")
                return dict(told["result"])
            self._note(told)

    def _note(self, told: dict[str, Any]) -> None:
        if told.get("method") == "Runtime.exceptionThrown":
            self.troubles.append(json.dumps(told["params"]["exceptionDetails"])[:2000])
        entry = told.get("params", {}).get("entry", {})
        if told.get("method") == "Log.entryAdded" and entry["level"] in ("error", "warning"):
            if "GPU stall" not in entry["text"]:  # of the software renderer
                self.troubles.append(entry["text"])

    def js(self, expression: str) -> Any:
        """Evaluate JavaScript and return its value."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def open(self, address: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=address)

    def wait(self, condition: str, *, timeout_s: float = 40.0) -> None:
        """Wait until JavaScript is true."""
        deadline = time.monotonic() + timeout_s
        while not self.js(condition):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{condition} did not come true; {self.troubles}")
            time.sleep(0.1)

    def look(self, width: int = 1280, height: int = 720, *, dark: bool = False) -> None:
        """Set the window's size and colours; nothing moves by itself."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.call("Emulation.setEmulatedMedia", features=features)

    def press(self, key: str) -> None:
        """Press and release a key."""
        code = {"Tab": 9}.get(key, 0)  # the browser itself moves the focus, by this number
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
            )

    def choose(self, value: str) -> None:
        """Take a choice of the first menu of the page, as a user does."""
        self.js(
            "(() => { const choice = document.querySelector('select'); "
            f"choice.value = {value!r}; choice.dispatchEvent(new Event('change')); }})()"
        )
        assert self.js("document.querySelector('select').value") == value

    def screenshot(self, path: Path) -> None:
        """Save what is visible as PNG."""
        image = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(image))


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Run a Chromium with its profile in a folder until the end of the block."""
    program = executable()
    if program is None:
        pytest.skip("no Chromium is installed")
    command = [program, f"--user-data-dir={folder}", *FLAGS, "about:blank"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        # without pings: a page that draws on a busy machine answers them late
        options = {"max_size": 2**26, "proxy": None, "ping_interval": None}
        with client.connect(_page_address(folder), **options) as connection:
            yield Browser(connection)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def _page_address(folder: Path) -> str:
    deadline = time.monotonic() + START_S
    file = folder / "DevToolsActivePort"
    while time.monotonic() < deadline:
        if file.exists() and (words := file.read_text().split()):
            pages = httpx.get(f"http://127.0.0.1:{words[0]}/json", trust_env=False).json()
            found = [page for page in pages if page["type"] == "page"]
            if found:
                return str(found[0]["webSocketDebuggerUrl"])
        time.sleep(0.1)
    raise TimeoutError(f"Chromium did not start in {START_S:g} s")


@pytest.fixture
def keep() -> Callable[[Browser, str], None]:
    """Save a picture under a name in the folder of ``NEAREDGE_SCREENSHOTS``, if there is one."""

    def keep(browser: Browser, name: str) -> None:
        if folder := os.environ.get("NEAREDGE_SCREENSHOTS"):
            browser.screenshot(Path(folder) / f"{name}.png")

    return keep


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that a module's tests share."""
    with chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened
