import inspect

import httpx
import pytest
from tiled.client import constructors

from nearedge.streaming import cli
from nearedge.streaming.catalog.trouble import in_words, told

REQUEST = httpx.Request("GET", "http://127.0.0.1:9/api/v1/metadata")


def test_a_server_that_is_away_is_named_with_its_address():
    text = in_words(httpx.ConnectError("[Errno 111] Connection refused", request=REQUEST))
    assert "http://127.0.0.1:9" in text
    assert "catalog.uri" in text


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_says_where_keys_come_from(status):
    response = httpx.Response(status, request=REQUEST)
    error = httpx.HTTPStatusError("Invalid API key", request=REQUEST, response=response)
    assert "TILED_API_KEY" in in_words(error)
    assert "http://127.0.0.1:9" in in_words(error)


def test_a_missing_key_says_where_keys_come_from():
    words = "This server requires API key authentication."
    assert words in inspect.getsource(constructors)  # what Tiled raises, as a RuntimeError
    for text in (in_words(RuntimeError(words)), told(RuntimeError(f"{words}\n\n    >>> c = …"))):
        assert "TILED_API_KEY" in text
        assert ">>>" not in text  # nor many lines of Tiled's


def test_other_errors_speak_for_themselves():
    assert in_words(ValueError("found x; expected y")) == "found x; expected y"
    assert in_words(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_the_command_line_names_the_address(capsys, tmp_path):
    profile = tmp_path / "p.yaml"
    profile.write_text('catalog: {uri: "http://127.0.0.1:9"}\n')
    with pytest.raises(SystemExit) as end:
        cli.main(["export", "latest", "-o", str(tmp_path / "a.xyz"), "-c", str(profile)])
    assert end.value.code == 1
    assert "no server answers at http://127.0.0.1:9" in capsys.readouterr().err
