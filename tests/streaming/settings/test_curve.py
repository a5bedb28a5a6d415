import threading

import msgpack
import pytest
import zmq
import zmq.auth
from bluesky.callbacks.zmq import ClientCurve, Proxy, Publisher, ServerCurve

from nearedge.streaming.settings import profile
from nearedge.streaming.settings.configuration import ConfigError, describe
from nearedge.streaming.settings.credential import CredentialError
from nearedge.streaming.settings.curve import SECRET_VARIABLE, client_keys
from nearedge.streaming.settings.exposure import source_exposure
from nearedge.streaming.settings.profile import Profile
from nearedge.streaming.sources.zmq_source import ZmqSource


def curve(keys, *, server="server", client="client") -> profile.CurveSettings:
    return profile.CurveSettings(
        server_key=str(keys / f"{server}.key"), secret_key=str(keys / f"{client}.key_secret")
    )


def test_keys_come_from_files_or_the_environment(keys, monkeypatch):
    from_files = client_keys(curve(keys))
    _, secret = zmq.auth.load_certificate(keys / "client.key_secret")
    assert (from_files.public, from_files.secret) == zmq.auth.load_certificate(
        keys / "client.key_secret"
    )
    monkeypatch.setenv(SECRET_VARIABLE, secret.decode())
    assert client_keys(profile.CurveSettings(server_key=str(keys / "server.key"))) == from_files
    assert secret.decode() not in repr(from_files)


def test_keys_that_cannot_be_used_say_why(keys, tmp_path):
    shared = tmp_path / "shared.key_secret"
    shared.write_bytes((keys / "client.key_secret").read_bytes())
    shared.chmod(0o644)
    server = str(keys / "server.key")
    for settings, environ, says in (
        (profile.CurveSettings(server_key=server, secret_key=str(shared)), {}, "chmod 600"),
        (
            profile.CurveSettings(server_key=server, secret_key=str(tmp_path / "no")),
            {},
            "cannot read",
        ),
        (profile.CurveSettings(server_key=server), {}, SECRET_VARIABLE),
        (profile.CurveSettings(server_key=server), {SECRET_VARIABLE: "short"}, "no CURVE key"),
        (curve(keys, server="no"), {}, "public key"),
        (curve(keys).model_copy(update={"server_key": str(shared)}), {}, None),
    ):
        if says is None:  # a secret file has the public key as well
            assert client_keys(settings, environ=environ)
            continue
        with pytest.raises(CredentialError, match=says):
            client_keys(settings, environ=environ)


def test_a_server_file_without_a_key_is_refused(keys, tmp_path):
    (tmp_path / "empty.key").write_text("metadata\n")
    settings = curve(keys).model_copy(update={"server_key": str(tmp_path / "empty.key")})
    with pytest.raises(CredentialError, match="expected a certificate"):
        client_keys(settings)


def test_another_machine_needs_keys_or_trust(keys):
    far = "proxy.example:5578"
    assert source_exposure(profile.ZmqSourceSettings()) is None
    assert source_exposure(profile.ZmqSourceSettings(address=far, curve=curve(keys))) is None
    assert source_exposure(profile.ZmqSourceSettings(address=far, trust_network=True)) is None
    assert "source.curve" in str(source_exposure(profile.ZmqSourceSettings(address=far)))
    with pytest.raises(ValueError, match=r"proxy\.example:5578 is on another machine"):
        ZmqSource(profile.ZmqSourceSettings(address=far)).start()
    instrument = {"signal": "mu", "roles": {"energy": "mono", "mu": "mu"}}
    settings = Profile.model_validate({"instrument": instrument, "source": {"address": far}})
    with pytest.raises(ConfigError, match=r"source\.trust_network"):
        describe(settings)


@pytest.fixture
def encrypted_proxy(keys):
    """A stock proxy: plain on the loopback inside, CURVE for known clients outside.

    On both sides it fails, since each of its sockets starts an authenticator of its own.
    """
    secure = ServerCurve(keys / "server.key_secret", keys / "known", None)
    proxy = Proxy("127.0.0.1", "127.0.0.1", out_curve=secure)
    # its forwarding loop ends with the process only
    threading.Thread(target=proxy.start, daemon=True).start()
    inward, outward = (
        int(str(port).rpartition(":")[2]) for port in (proxy.in_port, proxy.out_port)
    )
    return f"127.0.0.1:{inward}", f"127.0.0.1:{outward}"


def until(happened: threading.Event, publisher: Publisher) -> threading.Thread:
    def repeat() -> None:
        while not happened.wait(0.02):  # a publisher is not told when it has subscribers
            publisher("start", {"uid": "a", "time": 1.5})

    thread = threading.Thread(target=repeat)
    thread.start()
    return thread


@pytest.mark.system
def test_documents_cross_an_encrypted_proxy_and_strangers_get_none(keys, encrypted_proxy):
    inward, outward = encrypted_proxy
    publisher, heard = Publisher(inward, serializer=msgpack.dumps), threading.Event()
    sources = {
        who: ZmqSource(profile.ZmqSourceSettings(address=outward, curve=settings))
        for who, settings in {
            "known": curve(keys),
            "stranger": curve(keys, client="stranger"),
            "misled": curve(keys, server="stranger"),
            "plain": None,
        }.items()
    }
    for source in sources.values():
        source.start()
    thread = until(heard, publisher)
    assert next(sources["known"].documents()) == ("start", {"uid": "a", "time": 1.5})
    while not sources["stranger"].refused:
        assert not heard.wait(0.01)
    heard.set()
    thread.join()
    publisher.close()
    for source in sources.values():
        source.stop()
    assert {who: source.received > 0 for who, source in sources.items()} == {
        "known": True,
        "stranger": False,
        "misled": False,
        "plain": False,
    }
    assert not sources["stranger"].ready.is_set()


@pytest.mark.system
def test_a_publisher_with_keys_reaches_an_encrypted_inner_side(keys):
    secure = ServerCurve(keys / "server.key_secret", keys / "known", None)
    proxy = Proxy("127.0.0.1", "127.0.0.1", in_curve=secure)
    threading.Thread(target=proxy.start, daemon=True).start()
    inward, outward = (
        int(str(port).rpartition(":")[2]) for port in (proxy.in_port, proxy.out_port)
    )
    source = ZmqSource(profile.ZmqSourceSettings(address=f"127.0.0.1:{outward}"))
    source.start()
    assert source.ready.wait(20)
    ours = ClientCurve(keys / "client.key_secret", keys / "server.key")
    publisher = Publisher(f"127.0.0.1:{inward}", serializer=msgpack.dumps, curve_config=ours)
    stranger = Publisher(f"127.0.0.1:{inward}", prefix=b"", serializer=lambda doc: b"forged")
    heard = threading.Event()
    threads = [until(heard, publisher), until(heard, stranger)]
    assert next(source.documents()) == ("start", {"uid": "a", "time": 1.5})
    heard.set()
    for thread in threads:
        thread.join()
    source.stop()
    rest = list(source.documents())
    assert source.bad == 0
    assert all(document == ("start", {"uid": "a", "time": 1.5}) for document in rest)
    publisher.close()
    stranger.close()
