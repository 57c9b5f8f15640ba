"""run.json: read as it was written, whole or not at all, and honest about processes that are gone."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest

from tests.runs.records import make_version, run_record, write_run
from tfdml.errors import DataError
from tfdml.runs import environment, record
from tfdml.runs.record import RunRecord


def test_what_is_written_is_read(tmp_path):
    run = run_record()
    run.write(tmp_path)
    assert RunRecord.read(tmp_path) == run
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_result_that_is_not_finite_is_strict_json(tmp_path):
    run_record(result={"loss": math.nan, "perplexity": math.inf}).write(tmp_path)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    json.loads((tmp_path / "run.json").read_text(), parse_constant=refuse)
    found = RunRecord.read(tmp_path).result
    assert math.isnan(found["loss"]) and found["perplexity"] == math.inf


def test_metrics_name_those_of_slices():
    assert run_record().metrics() == {"accuracy": 0.97, "loss": 0.1, "accuracy[label=8]": 0.88}


def test_a_running_process_that_is_gone_is_lost():
    alive = run_record(status="running", process=environment.this_process())
    assert alive.shown_status == "running"
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "import json; from tfdml.runs import environment as e; print(json.dumps(e.this_process()))",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    process = json.loads(ended.stdout)
    assert run_record(status="running", process=process).shown_status == "lost"
    assert run_record(status="finished", process=process).shown_status == "finished"
    elsewhere = {**process, "host": "another"}
    assert run_record(status="running", process=elsewhere).shown_status == "running"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no run.json, so no run of a recipe"),
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"format_version": 1}', "cannot be read"),
        ('{"format_version": 99, "name": "a"}', "format version 99, and this tfdml reads 1"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path, text, message):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        RunRecord.read(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_find_leaves_out_exported_models_and_says_what_is_damaged(tmp_path):
    write_run(tmp_path / "a" / "b")
    run_record().write(make_version(tmp_path / "a" / "b", 1))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.json").write_text("{")
    found = dict(record.find([tmp_path]))
    assert list(found) == [tmp_path / "a" / "b", tmp_path / "c"]
    assert found[tmp_path / "a" / "b"] == run_record()
    assert isinstance(found[tmp_path / "c"], DataError)
    with pytest.raises(DataError, match="no such directory"):
        list(record.find([tmp_path / "nothing"]))
