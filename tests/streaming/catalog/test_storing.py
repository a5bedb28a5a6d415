from dataclasses import replace

import httpx
import numpy as np
import pytest

from nearedge.models import Reason, Rejected
from nearedge.streaming.catalog.result_files import ResultFiles
from nearedge.streaming.catalog.results import Results
from nearedge.streaming.catalog.storing import Comparing, Storing, differences
from nearedge.streaming.ledger.job import State
from nearedge.streaming.ledger.row import Row


@pytest.fixture
def row(measurement, spectrum, make_inversion) -> Row:
    return Row(
        key="k1",
        status=State.COMPLETE,
        measurement=measurement,
        outcome=spectrum,
        inversion=make_inversion(),
        error=None,
        stages={"wait": 0.5, "invert": 0.25},
    )


@pytest.fixture
def rejected(row) -> Row:
    why = Rejected(reason=Reason.NO_EDGE, detail="flat")
    return replace(row, key="k2", status=State.REJECTED, outcome=why, inversion=None)


def store(container, *rows, files=None) -> None:
    storing = Storing(lambda: container, config="settings", files=files, now=lambda: 5e8)
    for row in rows:
        storing.put(row)


def test_a_row_is_stored_with_where_it_comes_from(tiled_client, row, rejected):
    store(tiled_client, row, rejected)
    (result,) = Results(tiled_client).search()
    assert result.metadata["config"] == "settings"
    assert result.metadata["timings"] == {"wait": 0.5, "invert": 0.25}
    assert result.metadata["written"] == 5e8
    assert next(Results(tiled_client).rejected()).rejected == rejected.outcome


def test_what_is_stored_compares_equal_whenever_it_was_made(tiled_client, row, rejected):
    store(tiled_client, row, rejected)
    comparing = Comparing(tiled_client)
    comparing.put(replace(row, stages={"write": 9.0}))
    comparing.put(rejected)
    assert comparing.counts == {"equal": 2}


def test_what_is_stored_in_a_file_compares_equal(tiled_client, tiled_files, row, rejected):
    store(tiled_client, row, rejected, files=ResultFiles(tiled_files / "compared"))
    comparing = Comparing(tiled_client)
    comparing.put(row)
    comparing.put(rejected)
    assert comparing.counts == {"equal": 2}


def test_the_last_bit_of_one_position_is_a_difference(tiled_client, row):
    store(tiled_client, row)
    samples = row.inversion.samples
    positions = samples.positions.copy()
    positions[0, 0, 0] = np.nextafter(positions[0, 0, 0], np.float32(np.inf))
    moved = replace(row.inversion, samples=replace(samples, positions=positions))
    assert differences(replace(row, inversion=moved), tiled_client["k1"]) == ["positions"]


def test_another_outcome_or_none_is_a_difference(tiled_client, row, rejected):
    store(tiled_client, row)
    comparing = Comparing(tiled_client)
    comparing.put(replace(rejected, key="k1"))
    comparing.put(replace(row, key="absent"))
    assert comparing.counts == {"different": 1, "missing": 1}


def test_the_catalog_may_come_later_than_the_first_row(tiled_client, row):
    answers = [httpx.ConnectError("refused"), tiled_client]

    def container():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    storing = Storing(container, config="settings")
    with pytest.raises(httpx.ConnectError):
        storing.put(row)
    storing.put(row)
    storing.put(row)
    assert len(list(Results(tiled_client).search())) == 1
