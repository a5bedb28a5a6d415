import threading

from nearedge.streaming.service.endings import MOST, Endings


def test_runs_are_ended_in_order_and_forgotten():
    endings, ended = Endings(), []
    for uid in "abc":
        endings.put(uid, lambda uid=uid: ended.append(uid))
    assert endings.join(20)
    assert (ended, endings.run_uids) == (["a", "b", "c"], ())
    endings.put("d", lambda: ended.append("d"))
    assert endings.join(20)
    assert ended == ["a", "b", "c", "d"]


def test_of_too_many_the_next_waits():
    endings, go, full = Endings(), threading.Event(), threading.Event()
    for n in range(MOST):
        endings.put(str(n), lambda: go.wait(20))
    assert not endings.join(0)

    def one_more():
        full.set()
        endings.put("more", lambda: None)

    thread = threading.Thread(target=one_more)
    thread.start()
    assert full.wait(20)
    assert "more" not in endings.run_uids
    go.set()
    thread.join(20)
    assert endings.join(20)
