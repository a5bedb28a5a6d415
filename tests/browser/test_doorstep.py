"""What a browser sees of the page's address while a service starts."""

import pytest

from nearedge.streaming.page.doorstep import doorstep

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("view", ["", "#map/some-key"])
def test_a_browser_asks_again_whatever_view_it_waits_for(browser, view):
    with doorstep(0) as waiting:
        waiting.progress = "the first step"
        browser.open(waiting.address + view)
        browser.wait("Boolean(document.body?.innerText.includes('the first step'))")
        waiting.progress = "the second step"
        browser.wait("Boolean(document.body?.innerText.includes('the second step'))")
        assert browser.js("location.hash") == view
        browser.open("about:blank")  # or it would ask for ever
        browser.wait("location.href === 'about:blank'")
