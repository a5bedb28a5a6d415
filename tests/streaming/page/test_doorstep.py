import socket
import urllib.error
import urllib.request

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from nearedge.streaming.page.doorstep import PageError, doorstep
from nearedge.streaming.page.web import served


def got(address: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(address, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        with e:
            return e.code, e.read().decode()


def test_until_there_is_a_page_it_says_what_is_started():
    with doorstep(0) as waiting:
        waiting.progress = "a <Tiled> server …"
        status, text = got(waiting.address)
    assert status == 503
    assert "nearedge starts: a &lt;Tiled&gt; server …" in text
    assert 'http-equiv="refresh"' in text


def test_the_page_takes_over_at_the_same_address():
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("the page"))])
    with doorstep(0) as waiting:
        assert got(waiting.address)[0] == 503
        with served(app, waiting=waiting) as address:
            assert address == waiting.address
            assert got(address) == (200, "the page")


def test_a_visitor_that_says_nothing_does_no_harm():
    with doorstep(0) as waiting:
        host, port = waiting.address.removeprefix("http://").rstrip("/").split(":")
        with socket.create_connection((host, int(port)), timeout=20):
            assert got(waiting.address)[0] == 503


def test_a_port_that_is_taken_is_told_at_once():
    with doorstep(0) as waiting:
        port = int(waiting.address.rstrip("/").rpartition(":")[2])
        with pytest.raises(PageError, match=r"page_port"), doorstep(port):
            pass


def test_where_no_page_is_wanted_nothing_listens():
    with doorstep(None) as waiting:
        assert waiting is None
