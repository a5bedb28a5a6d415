import math

import pytest
from bluesky.callbacks.zmq import ClientCurve

from nearedge.models import Reason, Rejected
from nearedge.streaming.acquisition import Answers, NoAnswerError
from nearedge.streaming.acquisition.answer import FIGURES
from nearedge.streaming.answers.figures import FIGURES as ALL_FIGURES
from nearedge.streaming.ledger.job import State
from nearedge.streaming.service.bus import opened_bus
from nearedge.streaming.service.notices import heartbeat, partial_notice
from nearedge.streaming.settings import profile
from tests.streaming.acquisition.conftest import READY, until


def ended(answers: Answers, uid: str, *, reads: str = "detector") -> None:
    """Let a run pass by."""
    answers.follow("start", {"uid": uid})
    answers.follow("descriptor", {"run_start": uid, "object_keys": {reads: []}})
    answers.follow("stop", {"run_start": uid})


def test_every_figure_of_the_bus_has_a_signal():
    ends = {"cn_lo", "cn_hi"}
    published = {column for one in ALL_FIGURES if one.name != "bridge" for column in one.columns}
    assert set(FIGURES) == published - {"cn_set", "ood_flag"} | ends


def test_the_answer_to_the_run_that_ended_is_waited_for(bus, answers, row_of):
    ended(answers, "a")
    future = answers.expect(60)
    bus.row(row_of("another", began=2000.0))
    until(lambda: answers.to("another"))
    assert not future.done()
    bus.row(row_of("a"))
    answer = future.result(20)
    assert (answer.raw_uid, answer.key, answer.status) == ("a", "key-a", "complete")
    assert answer.numbers["cn_mean"] == 4.25
    assert answer.flags == "gap, short-post-edge, partial"
    assert answers.newest is answer  # though another run began later


def test_an_answer_that_is_there_before_it_is_asked_for_is_taken(bus, answers, row_of):
    bus.row(row_of("a"))
    until(lambda: answers.to("a"))
    ended(answers, "a")
    assert answers.expect(60).result(0).raw_uid == "a"


def test_a_run_is_waited_for_once(bus, answers, row_of):
    bus.row(row_of("a"))
    until(lambda: answers.to("a"))
    ended(answers, "b")
    with pytest.raises(NoAnswerError, match="no answer to run b within 0 s: the service is ready"):
        answers.expect(0).result(20)
    assert answers.expect(0).result(0).raw_uid == "a"  # at once: the newest


def test_a_run_that_reads_the_device_is_not_waited_for(bus, answers, row_of):
    answers.follow("start", {"uid": "x"})
    assert answers.expect(0, reader="nearedge").result(0).status == ""
    ended(answers, "x", reads="nearedge")
    assert answers.expect(0, reader="nearedge").result(0).status == ""


def test_a_partial_answer_ends_no_wait(bus, answers, row_of, measurement, spectrum, make_inversion):
    ended(answers, "run-1")
    future = answers.expect(60)
    bus._send(partial_notice(measurement, spectrum, make_inversion()))
    until(lambda: answers.to("run-1"))
    assert (answers.newest.status, future.done()) == ("partial", False)
    bus.row(row_of("run-1"))
    assert future.result(20).status == "complete"


def test_a_rejection_ends_the_wait_and_says_why(bus, answers, row_of):
    ended(answers, "a")
    rejected = Rejected(reason=Reason.UNSUPPORTED, detail="not this one")
    future = answers.expect(60)
    bus.row(row_of("a", status=State.REJECTED, outcome=rejected, inversion=None))
    answer = future.result(20)
    assert (answer.status, answer.detail) == ("rejected", "unsupported: not this one")
    assert all(math.isnan(value) for name, value in answer.values() if name in FIGURES)


def test_a_run_without_a_spectrum_ends_the_wait(bus, answers):
    ended(answers, "a")
    future = answers.expect(60)
    bus.left_out("a", "no-energy-scan")
    answer = future.result(20)
    assert (answer.status, answer.detail, answer.numbers) == ("left-out", "no-energy-scan", {})


def test_late_answers_to_older_runs_do_not_become_the_newest(bus, answers, row_of):
    bus.row(row_of("new", began=2000.0))
    bus.row(row_of("old", began=1000.0))
    until(lambda: answers.to("old"))
    assert answers.newest.raw_uid == "new"


def test_a_timeout_can_be_recorded(bus, answers, row_of):
    ended(answers, "a")
    answer = answers.expect(0, on_timeout="record").result(20)
    assert (answer.status, answer.raw_uid, answer.numbers) == ("timeout", "a", {})
    assert "no answer to run a within 0 s" in answer.detail
    bus.row(row_of("a"))
    until(lambda: answers.newest.status == "complete")  # what comes late takes its place


def test_a_timeout_says_what_is_known_of_the_service(bus, answers):
    bus._send(heartbeat({"ready": False, "problem": "no worker process runs"}))
    until(lambda: not answers.ready)
    ended(answers, "a")
    with pytest.raises(NoAnswerError, match="not ready: no worker process runs"):
        answers.expect(0).result(20)


def test_a_service_that_was_never_heard_is_told():
    answers = Answers("127.0.0.1:9")
    ended(answers, "a")
    with pytest.raises(NoAnswerError, match=r"nothing was heard at 127.0.0.1:9; start `nearedge"):
        answers.expect(0).result(20)
    answers.close()


def test_a_service_that_falls_silent_is_not_ready(bus):
    now = [0.0]
    answers = Answers(bus.address, clock=lambda: now[0])
    ready = []
    answers.watch(ready.append)
    until(lambda: answers.ready, lambda: bus._send(heartbeat(READY)))
    until(lambda: not answers.ready, lambda: now.__setitem__(0, now[0] + 1))
    assert answers.problem.startswith("silent for 15 s at")
    assert ready[0] is True
    answers.close()


def test_whoever_waits_when_it_is_closed_is_told(bus):
    answers = Answers(bus.address)
    ended(answers, "a")
    future = answers.expect(60)
    answers.close()
    with pytest.raises(NoAnswerError, match="listens no more"):
        future.result(0)


def test_without_a_run_engine_to_follow_nothing_can_be_waited_for(answers):
    with pytest.raises(RuntimeError, match=r"RE\.subscribe\(nearedge\.follow\)"):
        answers.expect(60, reader="nearedge")


def test_messages_that_make_no_sense_are_passed_over(bus, answers, row_of, caplog):
    for message in (b"nearedge event", b"nearedge event {", b'nearedge event {"data": 3}'):
        bus._socket.send(message)
    bus.row(row_of("a"))
    until(lambda: answers.to("a"))
    assert caplog.text.count("was not understood") == 3


def test_an_address_that_is_none_is_told():
    with pytest.raises(ValueError, match="expected host:port"):
        Answers("nowhere")


def test_an_encrypted_bus_is_heard_with_a_key(keys, row_of):
    curve = profile.BusKeySettings(
        secret_key=str(keys / "server.key_secret"), clients=str(keys / "known")
    )
    mine = ClientCurve(
        secret_path=keys / "client.key_secret", server_public_key=keys / "server.key"
    )
    with opened_bus(profile.BusSettings(address="127.0.0.1:0", curve=curve)) as bus:
        answers = Answers(bus.address, curve=mine)
        until(lambda: answers.to("a"), lambda: bus.row(row_of("a")))
        answers.close()
