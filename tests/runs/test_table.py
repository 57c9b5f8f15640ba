"""Predictions as files."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow.parquet
import pytest

from tfdml.errors import ConfigError
from tfdml.runs.table import write_table

COLUMNS = {
    "row": np.arange(3),
    "class": np.array(["a", 'b,"c', "ä"]),
    "probability": np.array([0.5, 0.25, 1.0], np.float32),
}
ROWS = [(0, "a", 0.5), (1, 'b,"c', 0.25), (2, "ä", 1.0)]


def test_csv(tmp_path):
    assert write_table(tmp_path / "a.csv", COLUMNS) == 3
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == list(COLUMNS)
    assert [(int(a), b, float(c)) for a, b, c in rows] == ROWS


def test_json_lines_and_parquet(tmp_path):
    write_table(tmp_path / "a.jsonl", COLUMNS)
    lines = (tmp_path / "a.jsonl").read_text("utf-8").splitlines()
    assert [tuple(json.loads(line).values()) for line in lines] == ROWS
    write_table(tmp_path / "a.parquet", COLUMNS)
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    assert [tuple(row.values()) for row in table.to_pylist()] == ROWS


def test_columns_of_different_lengths_leave_no_file(tmp_path):
    with pytest.raises(ConfigError, match="must have one length"):
        write_table(tmp_path / "a.csv", {"a": [1, 2], "b": [1]})
    with pytest.raises(ConfigError, match=r"a table must end in \.csv, \.jsonl, \.parquet"):
        write_table(tmp_path / "a.txt", {"a": [1]})
    assert list(tmp_path.iterdir()) == []
