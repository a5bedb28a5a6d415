import json
from pathlib import Path

import pytest

from nearedge.streaming.sources.jsonl_source import JsonlSource

DOCUMENTS = [
    ("start", {"uid": "a", "time": 1.0}),
    ("event", {"seq_num": 1, "data": {"x": [1.0, 2.0]}}),
    ("stop", {"run_start": "a"}),
]


@pytest.mark.parametrize("form", [list, lambda nd: {"name": nd[0], "doc": nd[1]}])
@pytest.mark.parametrize("mark", ["", "\x1e"], ids=["plain", "RFC 7464"])
def test_both_forms_are_read_in_order(form: object, mark: str, tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    file.write_text("\n\n".join(mark + json.dumps(form(nd)) for nd in DOCUMENTS))
    assert list(JsonlSource([file]).documents()) == DOCUMENTS


def test_files_are_read_one_after_another(tmp_path: Path) -> None:
    for i, nd in enumerate(DOCUMENTS):
        (tmp_path / f"{i}.jsonl").write_text(json.dumps(nd) + "\n")
    assert list(JsonlSource(sorted(tmp_path.iterdir())).documents()) == DOCUMENTS


def test_bad_lines_are_told_with_file_and_number_and_the_rest_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    bad = ['["start", {', '["begin", {}]', '["start", 5]', "7", '[["start"], {}]', '{"name": 1}']
    file.write_text("\n".join([*bad, json.dumps(DOCUMENTS[0])]))
    told: list[str] = []
    source = JsonlSource([file], on_bad=lambda e: told.append(str(e)))
    assert list(source.documents()) == DOCUMENTS[:1]
    assert source.bad == len(told) == len(bad)
    assert told[1].startswith(f"{file}, line 2: expected [name, document]")


def test_stopping_ends_before_the_next_document(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    file.write_text("\n".join(map(json.dumps, DOCUMENTS)))
    source = JsonlSource([file])
    documents = source.documents()
    next(documents)
    source.stop()
    assert list(documents) == []


def test_a_file_that_is_missing_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(JsonlSource([tmp_path / "none.jsonl"]).documents())
