import logging
import os
import traceback

import pytest

from nearedge.streaming.catalog.connection import connect
from nearedge.streaming.catalog.embedded import Embedded
from nearedge.streaming.commands.opening import connected
from nearedge.streaming.settings import profile
from nearedge.streaming.settings.configuration import ConfigError, describe
from nearedge.streaming.settings.credential import CredentialError, api_key, read_secret
from nearedge.streaming.settings.profile import Profile

SECRET = "c0ffee" * 8
INSTRUMENT = {"signal": "mu", "roles": {"energy": "mono", "mu": "mu"}}


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "tiled.key"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o600)
    return path


def test_the_file_wins_over_the_environment(key_file):
    environ = {"TILED_API_KEY": "other", "MINE": "mine"}
    assert api_key(profile.CatalogSettings(api_key_file=str(key_file)), environ=environ) == SECRET
    assert api_key(profile.CatalogSettings(), environ=environ) == "other"
    assert api_key(profile.CatalogSettings(api_key_env="MINE"), environ=environ) == "mine"
    assert api_key(profile.CatalogSettings(), environ={}) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o666, 0o777])
def test_a_file_that_others_may_use_is_refused(key_file, mode):
    key_file.chmod(mode)
    with pytest.raises(CredentialError, match="chmod 600") as caught:
        read_secret(key_file)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_is_read(key_file, mode):
    key_file.chmod(mode)
    assert read_secret(key_file) == SECRET


def test_a_link_does_not_hide_the_mode(key_file, tmp_path):
    key_file.chmod(0o644)
    (tmp_path / "link").symlink_to(key_file)
    with pytest.raises(CredentialError, match="0644"):
        read_secret(tmp_path / "link")


def test_what_is_no_secret(tmp_path):
    (tmp_path / "empty").touch(mode=0o600)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "binary").chmod(0o600)
    for name, says in (("empty", "expected a secret"), ("none", "FileNotFound"), ("binary", "Uni")):
        with pytest.raises(CredentialError, match=says):
            read_secret(tmp_path / name)
    with pytest.raises(CredentialError):
        read_secret(tmp_path)
    with pytest.raises(CredentialError, match="no ordinary file"):
        read_secret(os.devnull)


@pytest.mark.parametrize(
    "uri", [f"https://tiled.example/api/v1?api_key={SECRET}", f"https://me:{SECRET}@tiled.example/"]
)
def test_an_address_with_a_secret_in_it_is_refused_and_not_repeated(uri):
    with pytest.raises(CredentialError, match="put it into the environment") as caught:
        api_key(profile.CatalogSettings(uri=uri), environ={})
    with pytest.raises(ConfigError) as checked:
        describe(Profile.model_validate({"instrument": INSTRUMENT, "catalog": {"uri": uri}}))
    assert SECRET not in str(caught.value) + str(checked.value)


def test_a_key_in_clear_over_the_network_is_warned_of(caplog):
    for uri in ("http://127.0.0.1:1/api/v1", "https://tiled.example/api/v1"):
        api_key(profile.CatalogSettings(uri=uri), environ={"TILED_API_KEY": SECRET})
    assert not caplog.records
    api_key(
        profile.CatalogSettings(uri="http://tiled.example/api/v1"),
        environ={"TILED_API_KEY": SECRET},
    )
    assert "use https" in caplog.text
    assert SECRET not in caplog.text


def test_no_log_record_and_no_error_holds_the_key(key_file, caplog, monkeypatch):
    monkeypatch.setenv("TILED_RETRY_ATTEMPTS", "1")
    caplog.set_level(logging.DEBUG)
    catalog = profile.CatalogSettings(uri="http://127.0.0.1:1/api/v1", api_key_file=str(key_file))
    settings = Profile.model_validate({"instrument": INSTRUMENT, "catalog": catalog.model_dump()})
    told = [describe(settings), repr(settings), settings.model_dump_json()]
    with pytest.raises(Exception) as caught:
        connect(catalog.uri, api_key=api_key(catalog, environ={}))
    told.append("".join(traceback.format_exception(caught.value)))
    with connected(settings) as server:
        assert server.api_key == SECRET
        told.append(repr(server))
    told.append(repr(Embedded(uri="", api_key=SECRET, directory=key_file.parent)))
    told += [f"{record.getMessage()} {record.__dict__}" for record in caplog.records]
    assert len(told) > 5
    assert not [text for text in told if SECRET in text]
