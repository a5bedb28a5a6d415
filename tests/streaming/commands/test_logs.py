import json
import logging

import pytest

from nearedge.streaming.commands.logs import Form, start_logging


@pytest.fixture
def logger():
    return logging.getLogger("nearedge.test")


def test_a_line_of_json_has_the_uid_of_its_run(logger, capsys):
    start_logging(logging.INFO, Form.JSON)
    logger.info("run %s\nis odd", "r", extra={"run_uid": "r"})
    line = json.loads(capsys.readouterr().err)
    assert (line["run"], line["level"], line["text"]) == ("r", "info", "run r\nis odd")
    assert line["logger"] == "nearedge.test"
    assert line["time"].endswith("Z")
    assert "trace" not in line


def test_an_error_is_one_line_with_its_trace(logger, capsys):
    start_logging(logging.INFO, Form.JSON)
    try:
        raise ValueError("no")
    except ValueError:
        logger.exception("it broke")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["trace"].endswith("ValueError: no")


def test_lines_for_people_are_the_default(logger, capsys):
    start_logging(logging.WARNING)
    logger.warning("beware")
    logger.info("never mind")
    assert capsys.readouterr().err.endswith("WARNING nearedge.test: beware\n")
