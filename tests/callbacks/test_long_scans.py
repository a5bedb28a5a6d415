"""Scans of very many points: the work grows with their number and no faster."""

import numpy as np
import pytest

from nearedge.callbacks.instrument import Instrument
from nearedge.callbacks.open_run import MOST_SHOWN

ROLES = {"energy": "e", "i0": "i0", "it": "it"}


def pages(count, size):
    """One scan of so many points as event pages."""
    energies = np.linspace(1810.0, 1890.0, count)
    keys = {key: {"source": "x", "dtype": "number", "shape": []} for key in ROLES.values()}
    yield "start", {"uid": "a", "time": 1.0}
    yield ("descriptor", {"uid": "d", "run_start": "a", "name": "primary", "time": 1.0,
                          "data_keys": keys})  # fmt: skip
    for first in range(0, count, size):
        some = np.arange(first, min(first + size, count))
        data = {"e": energies[some], "i0": np.full(len(some), 2.0), "it": np.ones(len(some))}
        yield ("event_page", {"uid": [f"e{k}" for k in some], "descriptor": "d",
                              "seq_num": [int(k) + 1 for k in some],
                              "time": [2.0 + k * 1e-3 for k in some],
                              "data": data, "timestamps": {}, "filled": {}})  # fmt: skip
    yield ("stop", {"uid": "s", "run_start": "a", "time": 999.0, "exit_status": "success",
                    "num_events": {"primary": count}})  # fmt: skip


def test_a_long_scan_is_one_spectrum(hearing):
    only = hearing(Instrument.model_validate({"roles": ROLES})).take(pages(20_000, 500)).only
    assert only.complete and len(only.columns["energy"]) == 20_000
    assert only.columns["energy"][[0, -1]].tolist() == [1810.0, 1890.0]


@pytest.mark.parametrize("form", ["datum first", "event first"])
def test_files_of_the_older_form_are_looked_up_once_for_each_reading(hearing, form, monkeypatch):
    """The readings that wait are many where the file comes late."""
    from nearedge.callbacks.readings import Readings

    looks = []
    ready = Readings.are_ready

    def counting(readings, seqs, files):
        looks.append(len(seqs))
        return ready(readings, seqs, files)

    monkeypatch.setattr(Readings, "are_ready", counting)
    count = 60
    instrument = Instrument.model_validate(
        {"technique": "eels", "signal": "spectrum", "finish": {"when": "event"},
         "roles": {"spectrum": "s", "offset": 500, "dispersion": 0.5}}
    )  # fmt: skip
    key = {"source": "s", "dtype": "array", "shape": [1, 8], "external": "FILESTORE:"}
    files = ("resource", {"uid": "r", "run_start": "a", "spec": "AD_HDF5", "root": "/nowhere",
                          "resource_path": "x.h5"})  # fmt: skip
    datums = [
        ("datum", {"resource": "r", "datum_id": f"r/{k}", "datum_kwargs": {"point_number": k}})
        for k in range(count)
    ]
    events = [
        ("event", {"uid": f"e{k}", "descriptor": "d", "seq_num": k + 1, "time": 2.0 + k,
                   "data": {"s": f"r/{k}"}, "timestamps": {}})
        for k in range(count)
    ]  # fmt: skip
    described = ("descriptor", {"uid": "d", "run_start": "a", "name": "primary", "time": 1.0,
                                "data_keys": {"s": key}})  # fmt: skip
    order = [*datums, *events] if form == "datum first" else [*events, *datums]
    heard = hearing(instrument)
    heard.take([("start", {"uid": "a", "time": 1.0}), described, files, *order])
    assert sum(looks) <= 3 * count


def test_what_is_shown_of_a_long_scan_is_an_even_choice_with_the_newest_reading(hearing):
    instrument = Instrument.model_validate({"roles": ROLES, "partial_every_s": 1.0})
    heard = hearing(instrument)
    for document in pages(20_000, 500):
        heard.now += 0.5
        heard.take([document])
    shown = [m for m in heard.emitted if not m.final]
    assert max(len(m.columns["energy"]) for m in shown) <= MOST_SHOWN
    newest = shown[-1].columns["energy"]
    assert np.ptp(np.diff(newest)) < 1e-6
    assert newest[-1] > 1880 and len(newest) > MOST_SHOWN / 2
    assert len(heard.only.columns["energy"]) == 20_000


def test_the_end_of_a_long_run_can_be_left_to_others(hearing):
    later = []
    instrument = Instrument.model_validate({"roles": ROLES})
    heard = hearing(instrument, later=lambda uid, end: later.append((uid, end)))
    heard.take(pages(6_000, 500))
    assert not heard.emitted and not heard.assembler.open_runs
    ((uid, end),) = later
    end()
    assert uid == "a" and heard.only.complete
    assert len(heard.only.columns["energy"]) == 6_000


def test_a_short_run_ends_at_once(hearing):
    instrument = Instrument.model_validate({"roles": ROLES})
    heard = hearing(instrument, later=lambda uid, end: pytest.fail("it is short"))
    heard.take(pages(500, 500))
    assert heard.only.complete
