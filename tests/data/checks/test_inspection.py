"""`inspect` and `stats` as commands: of our directories, TFDS's, bare ones and remote ones."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest

from tests.data.directories import SCHEMA, row, write_directory
from tfdml.data.checks.directory_statistics import compute_statistics, stored_statistics
from tfdml.data.checks.inspection import schema_of_directory
from tfdml.data.checks.inspection_report import report_lines
from tfdml.data.checks.text_table import range_text, size_text, text_table
from tfdml.data.checks.value_text import value_text
from tfdml.data.format.dataset_directory import DatasetDirectory
from tfdml.data.format.example import encode
from tfdml.data.format.features import Feature
from tfdml.data.format.record_file import write_records
from tfdml.errors import DataError
from tfdml.storage import storage_for

REPOSITORY = Path(__file__).parents[3]


def tool(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)


def report(directory, split=None, records=1) -> str:
    return "\n".join(report_lines(DatasetDirectory.open(directory), split, records))


def test_inspecting_our_directory(tmp_path):
    directory = tmp_path / "a b"
    write_directory(directory, {"train": 21, "test": 5})
    done = tool("-m", "tfdml", "inspect", directory, "--split=train", "--records=2")
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == f"toy: {directory}"
    assert lines[2] == "licence: CC0"
    assert "image image uint8 2x?x1 png" in lines
    assert "label label int64 3 classes: cat, dog, owl" in lines
    assert "train 21 2 3.58 kB 10-11 1,715-1,863" in lines
    assert "train, record 1" in lines and "train, record 2" not in lines
    assert "label 2 (owl)" in lines
    assert "text 'téxt 2'" in lines
    assert "x float32 [3]: 2 0.5 -1" in lines
    assert any(line.startswith("image png 2x5x1, ") for line in lines)
    assert not any(line.startswith("test ") for line in lines)


def test_inspecting_directories_of_others(tmp_path):
    write_directory(tmp_path, {"train": 21}, "GZIP")
    (tmp_path / "manifest.json").unlink()
    shown = report(tmp_path)
    assert "compression: GZIP" in shown
    assert "written by another tool, with TFDS's side files" in shown
    for file in [*tmp_path.glob("*.json"), *tmp_path.glob("*.txt"), *tmp_path.glob("index/*")]:
        file.unlink()
    shown = report(tmp_path)
    assert "shards without a side file" in shown
    assert "features (guessed from the first records)" in shown
    assert "not counted" in shown
    assert "'téxt 0'" in shown


def test_inspecting_tells_what_is_missing(tmp_path):
    write_directory(tmp_path, {"train": 21, "test": 4})
    (tmp_path / "toy-train.tfrecord-00001-of-00002").unlink()
    assert "1 of 2 shards are missing" in report(tmp_path, records=0)
    with pytest.raises(DataError, match="no split 'val'; there are train, test"):
        report(tmp_path, "val")
    with pytest.raises(DataError, match="00001-of-00002: no such file"):
        report(tmp_path, records=20)


def test_remote_directories_are_read_as_local_ones(tmp_path):
    write_directory(tmp_path, {"train": 21})
    url = f"memory://{uuid.uuid4()}"
    for file in tmp_path.rglob("*"):
        if file.is_file():
            storage_for(url).write_bytes(file.relative_to(tmp_path).as_posix(), file.read_bytes())
    assert report(url).replace(url, "") == report(tmp_path).replace(str(tmp_path), "")
    there = DatasetDirectory.open(url)
    assert compute_statistics(there, there.schema) == compute_statistics(
        DatasetDirectory.open(tmp_path), there.schema
    )


def test_statistics_of_the_manifest_and_computed_are_the_same(tmp_path):
    write_directory(tmp_path, {"train": 21, "test": 5})
    directory = DatasetDirectory.open(tmp_path)
    stored = stored_statistics(directory)
    done = []
    for processes in (1, 2):
        found = compute_statistics(
            directory,
            directory.schema,
            num_processes=processes,
            on_progress=lambda rows, size: done.append(rows),
        )
        assert set(found) == set(stored) == {"train", "test"}
        for split in found:
            assert found[split].records == stored[split].records
            assert found[split].histogram == stored[split].histogram
            for name, measured in found[split].measures.items():
                for what, summary in measured.items():
                    expected = stored[split].measures[name][what]
                    assert summary.count == expected.count
                    assert summary.mean == pytest.approx(expected.mean)
                    assert summary.std == pytest.approx(expected.std, abs=1e-9)
    assert sum(done) == 2 * 26
    assert set(stored_statistics(directory, "test")) == {"test"}


def test_stats_as_table_and_json(tmp_path):
    write_directory(tmp_path, {"train": 20, "test": 5})
    done = tool("-m", "tfdml", "stats", tmp_path, "--split=train", "--labels=2")
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == "train: 20 records"
    assert "0 cat 7 35.0% " + 30 * "#" in lines
    assert "... 1 labels more, of 6 records; see --labels" in lines
    assert any(line.startswith("x value 60 -1 19 ") for line in lines)
    done = tool("-m", "data_tools.stats", tmp_path, "--json", "--recompute")
    found = json.loads(done.stdout)
    assert found["test"]["labels"] == {"label": {"0": 2, "1": 2, "2": 1}}
    assert found["train"]["statistics"]["x"]["value"]["max"] == 19
    assert "read: done" in done.stderr


def test_stats_of_records_that_differ(tmp_path):
    schema = {"x": Feature("tensor", "int64", (None,))}
    records = [encode({"x": np.zeros(2 + i // 100, np.int64)}, schema) for i in range(101)]
    write_records(tmp_path / "train.tfrecord", records)
    directory = DatasetDirectory.open(tmp_path)
    guessed, is_guess = schema_of_directory(directory)
    assert is_guess
    with pytest.raises(
        DataError, match=r"train\.tfrecord: record 100 cannot .* first records differ"
    ):
        compute_statistics(directory, guessed, guessed=True)


@pytest.mark.parametrize("name", ["inspect", "stats"])
def test_tools_run_as_scripts_and_without_tensorflow(tmp_path, name):
    # As a script its directory comes first, in which `inspect` is not the standard library's.
    write_records(tmp_path / "train.tfrecord", [encode(row(1), SCHEMA)])
    done = tool("-X", "importtime", f"data_tools/{name}.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tfdml.data.format.dataset_directory" in loaded
    assert not loaded & {"tensorflow", "keras", "tensorflow_datasets"}


def test_text():
    assert text_table(["a", "b", "none"], [(1234, "x", None), (5, "yy", None)]) == [
        "    a  b",
        "1,234  x",
        "    5  yy",
    ]
    assert text_table(["m"], [(0.1234567,), (3.0,), (float("nan"),)])[1:] == [
        "0.123457",
        "       3",
        "     nan",
    ]
    assert [size_text(n) for n in (0, 999, 1000, 999_600, 2.5e9, 3e15)] == [
        "0 B",
        "999 B",
        "1 kB",
        "1 MB",
        "2.5 GB",
        "3e+03 TB",
    ]
    assert (range_text([3, 3]), range_text([3, 1000])) == ("3", "3-1,000")
    assert value_text(Feature("label"), 7) == "7"
    assert value_text(Feature("text"), b"\xff") == "b'\\xff'"
    assert value_text(Feature("text"), b"a" * 1000).endswith("... (1,000 bytes)")
    assert (
        value_text(Feature("image", shape=(1, 1, 3), encoding="png"), b"x")
        == "no PNG or JPEG, 1 bytes"
    )
    assert value_text(Feature("tensor", "float64"), np.float64(0.1)) == "0.1"
    many = value_text(Feature("tensor", "int64", (None, 5)), np.arange(10).reshape(2, 5))
    assert many == "int64 [2, 5]: 0 1 2 3 4 5 6 7 ..."
