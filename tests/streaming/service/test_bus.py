import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import event_model
import pytest
import zmq
import zmq.auth
from bluesky.callbacks.zmq import RemoteDispatcher

from nearedge.models import Reason, Rejected
from nearedge.streaming.acquisition import Answers
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.ledger import Ledger
from nearedge.streaming.ledger.row import Row
from nearedge.streaming.service.bus import Bus, BusError, beating, opened_bus
from nearedge.streaming.service.metrics import Metrics
from nearedge.streaming.service.notices import (
    heartbeat,
    left_out_notice,
    partial_notice,
    row_notice,
)
from nearedge.streaming.settings import profile
from nearedge.streaming.settings.credential import CredentialError
from nearedge.streaming.settings.profile import Profile
from nearedge.streaming.settings.words import inconsistencies, sentences


@pytest.fixture
def bus() -> Iterator[Bus]:
    with opened_bus(profile.BusSettings(address="127.0.0.1:0")) as bus:
        yield bus


@pytest.fixture
def row(measurement, spectrum, make_inversion) -> Row:
    return Row(
        key="k",
        status=State.COMPLETE,
        measurement=measurement,
        outcome=spectrum,
        inversion=make_inversion(cn=4.25),
        error=None,
        stages={},
    )


@pytest.fixture
def service(tmp_path) -> Iterator[Any]:
    """What a heartbeat asks of a service."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    checks = {"ledger": None, "worker": "no worker process runs"}
    yield SimpleNamespace(ledger=ledger, checks=lambda: checks, metrics=Metrics())
    ledger.close()


def until(what: Callable[[], object], again: Callable[[], object] = lambda: None) -> None:
    """Do something again and again until what is waited for is there."""
    deadline, pause = time.monotonic() + 20, threading.Event()
    while not what():
        assert time.monotonic() < deadline
        again()
        pause.wait(0.01)


def validated(documents) -> dict[str, dict[str, Any]]:
    for name, doc in documents:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
    return dict(documents)


def test_an_answer_is_a_whole_run_of_one_event(row):
    docs = validated(row_notice(row))
    assert list(docs) == ["start", "descriptor", "event", "stop"]
    start, data = docs["start"], docs["event"]["data"]
    assert (start["key"], start["purpose"], start["raw"]["uid"]) == ("k", "answer", "run-1")
    assert set(start["flags"]) == {"gap", "short-post-edge", "partial"}
    assert (data["raw_uid"], data["status"]) == ("run-1", "complete")
    assert (data["cn_mean"], data["cn_map"], data["cn_lo"], data["cn_hi"]) == (4.25, 4, 4, 5)
    assert (data["cn_mean_lo"], data["cn_mean_hi"]) == (4.0, 4.5)
    assert data["bond_lo"] < data["bond_mean"] < data["bond_hi"]
    assert "bridge_mean" not in data  # the samples define none
    keys = docs["descriptor"]["data_keys"]
    assert (keys["bond_mean"]["units"], keys["ood_flag"]["dtype"]) == ("angstrom", "boolean")


def test_a_rejection_says_why_and_has_no_numbers(row, measurement):
    rejected = Rejected(reason=Reason.UNSUPPORTED, detail="not this one")
    docs = validated(
        row_notice(
            Row(
                key="k",
                status=State.REJECTED,
                measurement=measurement,
                outcome=rejected,
                inversion=None,
                error=None,
                stages={},
            )
        )
    )
    assert (docs["start"]["reason"], docs["start"]["detail"]) == ("unsupported", "not this one")
    assert set(docs["event"]["data"]) == {"raw_uid", "stream", "spectrum", "status"}


def test_a_partial_answer_has_no_key(measurement, spectrum, make_inversion):
    docs = validated(partial_notice(measurement, spectrum, make_inversion()))
    assert docs["start"]["key"] is None
    assert docs["event"]["data"]["status"] == "partial"


def test_a_run_without_a_spectrum_is_told():
    docs = validated(left_out_notice("run-1", "no-energy-scan"))
    assert (docs["start"]["reason"], docs["start"]["raw"]) == ("no-energy-scan", {"uid": "run-1"})
    assert docs["event"]["data"] == {"raw_uid": "run-1", "status": "left-out"}


def test_a_heartbeat_is_an_event_of_its_own_stream():
    docs = validated(heartbeat({"ready": True, "problem": "", "queued": 3}))
    assert docs["descriptor"]["name"] == "heartbeat"
    assert docs["event"]["data"] == {"ready": True, "problem": "", "queued": 3}


def test_a_stock_subscriber_hears_answers_and_heartbeats(bus, row, service):
    heard: list[tuple[str, Any]] = []
    dispatcher = RemoteDispatcher(bus.address, prefix=b"nearedge", deserializer=json.loads)
    dispatcher.subscribe(lambda name, doc: heard.append((name, doc["data"])), "event")

    def listen() -> None:
        with suppress(asyncio.CancelledError):
            dispatcher.start()

    thread = threading.Thread(target=listen)
    thread.start()
    with beating(bus, service, every_s=0.02):
        until(lambda: heard)
    until(lambda: "raw_uid" in heard[-1][1], lambda: bus.row(row))
    assert heard[-1][1]["cn_mean"] == 4.25
    assert heard[0][1]["problem"] == "no worker process runs"
    dispatcher.loop.call_soon_threadsafe(dispatcher._task.cancel)
    thread.join()


def test_heartbeats_go_on_while_the_ledger_cannot_be_read(bus, service):
    service.checks = lambda: {"ledger": "disk I/O error", "worker": None}
    service.ledger.close()
    answers = Answers(bus.address)
    with beating(bus, service, every_s=0.02):
        until(answers.heard.is_set)
    answers.close()


def test_without_an_address_nothing_is_published(row):
    with opened_bus(profile.BusSettings(address=None)) as bus:
        assert bus.address is None
        bus.row(row)


def test_what_grows_is_published_only_with_an_answer(bus, measurement, spectrum, monkeypatch):
    sent: list[Any] = []
    monkeypatch.setattr(bus, "_send", sent.append)
    bus.partial(measurement, spectrum, None)
    bus.partial(measurement, Rejected(reason=Reason.UNSUPPORTED, detail=""), None)
    assert sent == []


def test_a_port_that_is_taken_is_told(bus):
    with pytest.raises(BusError, match=r"bus\.address.*in use.*another nearedge"):
        Bus(profile.BusSettings(address=bus.address))


def test_beyond_the_loopback_keys_are_needed():
    with pytest.raises(BusError, match=r"bus\.curve"):
        Bus(profile.BusSettings(address="0.0.0.0:0"))
    everywhere = Profile(bus=profile.BusSettings(address="0.0.0.0:5579"))
    assert any("bus.curve" in sentence for sentence in inconsistencies(everywhere))


def test_a_profile_says_who_may_listen():
    keys = profile.BusKeySettings(secret_key="s", clients="c")
    for bus, says in (
        (
            profile.BusSettings(),
            "at 127.0.0.1:5579, prefix 'nearedge', for whoever is on this machine",
        ),
        (profile.BusSettings(address="0.0.0.0:5579", curve=keys), "for those with a key"),
        (profile.BusSettings(address=None), "publishes no answers"),
    ):
        assert any(says in sentence for sentence in sentences(Profile(bus=bus)))


def listening(address: str, keys, who: str) -> tuple[zmq.Context, zmq.Socket]:
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.linger = 0
    server, _ = zmq.auth.load_certificate(keys / "server.key")
    socket.curve_serverkey = server
    socket.curve_publickey, socket.curve_secretkey = zmq.auth.load_certificate(
        keys / f"{who}.key_secret"
    )
    socket.subscribe(b"")
    socket.connect(f"tcp://{address}")
    return context, socket


def test_only_those_with_a_known_key_hear_anything(keys, row, caplog):
    caplog.set_level(logging.CRITICAL, "zmq.auth")
    curve = profile.BusKeySettings(
        secret_key=str(keys / "server.key_secret"), clients=str(keys / "known")
    )
    with opened_bus(profile.BusSettings(address="127.0.0.1:0", curve=curve)) as bus:
        ends = [listening(bus.address, keys, who) for who in ("client", "stranger")]
        (_, client), (_, stranger) = ends
        until(lambda: client.poll(10), lambda: bus.row(row))
        prefix, name, payload = client.recv().split(b" ", 2)
        assert (prefix, name, json.loads(payload)["key"]) == (b"nearedge", b"start", "k")
        assert not stranger.poll(100)
        for context, socket in ends:
            socket.close()
            context.term()


def test_keys_that_cannot_be_used_say_why(keys, tmp_path):
    known = str(keys / "known")
    absent = profile.BusKeySettings(secret_key=str(tmp_path / "no"), clients=known)
    with pytest.raises(CredentialError, match="cannot read"):
        Bus(profile.BusSettings(address="127.0.0.1:0", curve=absent))
    nobody = profile.BusKeySettings(
        secret_key=str(keys / "server.key_secret"), clients=str(tmp_path / "nobody")
    )
    with pytest.raises(BusError, match=r"bus\.curve\.clients"):
        Bus(profile.BusSettings(address="127.0.0.1:0", curve=nobody))
