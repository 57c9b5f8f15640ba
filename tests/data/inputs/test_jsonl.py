"""JSON Lines: the values that json.loads gives, their kinds, and lines that are no object."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tests.data.inputs.reading import opened, read, values
from tfdml.data.format.features import Feature
from tfdml.errors import DataError

ROWS = [
    {
        "id": "a",
        "n": 1,
        "x": 0.5,
        "ok": True,
        "text": "Köln\n",
        "v": [1, 2],
        "m": [[0.5], [1]],
        "w": ["x"],
    },
    {
        "id": "b",
        "n": -2,
        "x": 3,
        "ok": False,
        "text": "",
        "v": [],
        "m": [[2], [3]],
        "w": ["y", "ü"],
    },
    {
        "id": "c",
        "n": 2**62,
        "x": None,
        "ok": True,
        "text": None,
        "v": [7],
        "m": [[4], [5]],
        "w": [],
    },
]


def write(tmp_path, *lines):
    file = tmp_path / "t.jsonl"
    file.write_bytes(
        b"".join(
            line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines
        )
    )
    return file


def test_values_and_kinds(tmp_path):
    source = opened("jsonl", write(tmp_path, *ROWS), key="id", drop=("id",))
    assert source.schema == {
        "n": Feature("tensor", "int64"),
        "x": Feature("tensor", "float32"),
        "ok": Feature("tensor", "bool"),
        "text": Feature("text"),
        "v": Feature("tensor", "int64", (None,)),
        "m": Feature("tensor", "float32", (2, 1)),
        "w": Feature("tensor", "string", (None,)),
    }
    rows, bad = read(source)
    assert bad == []
    assert [row.key for row in rows] == ["a", "b", "c"]
    for row, wanted in zip(rows, ROWS, strict=True):
        assert row.values["n"] == wanted["n"]
        assert row.values["ok"] is wanted["ok"]
        assert row.values["text"] == (wanted["text"] or "").encode()
        assert row.values["v"].dtype == np.int64
        assert row.values["v"].tolist() == wanted["v"]
        assert row.values["m"].dtype == np.float32
        assert row.values["m"].tolist() == wanted["m"]
        assert [word.decode() for word in row.values["w"]] == wanted["w"]
    assert math.isnan(rows[2].values["x"])


def test_labels_are_all_that_occur(tmp_path):
    file = write(tmp_path, {"y": "dog"}, {"y": "cat"}, {"y": "dog"})
    source = opened("jsonl", file, label="y")
    assert source.schema["y"].class_names == ("cat", "dog")
    assert values(source) == [{"y": 1}, {"y": 0}, {"y": 1}]


def test_fragments_are_cut_at_lines_and_count_them(tmp_path, monkeypatch):
    monkeypatch.setattr("tfdml.data.inputs.cuts._SMALLEST_FRAGMENT_BYTES", 30)
    monkeypatch.setattr("tfdml.data.inputs.cuts._BLOCK_BYTES", 11)
    file = write(tmp_path, *[{"n": 10**n} for n in range(15)])
    source = opened("jsonl", file)
    assert len(source.fragments()) > 5
    rows, _ = read(source)
    assert [row.values["n"] for row in rows] == [10**n for n in range(15)]
    assert [row.key for row in rows] == [f"t.jsonl#{n}" for n in range(1, 16)]


@pytest.mark.parametrize(
    "line, reason",
    [
        (b'{"n": 1, "v": [1, 2]\n', "no JSON: "),
        (b"[1]\n", "a JSON object is expected, got a list"),
        (b'{"n": "\xff", "v": [1, 2]}\n', "invalid UTF-8 (byte 0xff)"),
        (b'{"n": "x", "v": [1, 2]}\n', "field 'n': 'x' is no integer"),
        (b'{"n": 1.5, "v": [1, 2]}\n', "field 'n': 1.5 is no integer"),
        (b'{"n": true, "v": [1, 2]}\n', "field 'n': True is no integer"),
        (b'{"v": [1, 2]}\n', "field 'n': no value, and int64 has none for that"),
        (b'{"n": 1, "v": [1, 2, 3]}\n', "field 'v': its shape is 3, not 2"),
        (b'{"n": 1, "v": [1, [2]]}\n', "field 'v': its lists have different lengths"),
        (b'{"n": 1, "v": [1, 2.5]}\n', "field 'v': it has fractions, and is read as int64"),
        (b'{"n": 1, "v": ["a", "b"]}\n', "field 'v': it holds text, not numbers"),
        (b'{"n": 1, "n": 1, "v": [1, 2]}\n', "it has two fields of the name 'n'"),
        (
            b'{"n": 1, "v": [1, 2], "z": 0}\n',
            "it has the field 'z', which no row looked at first has",
        ),
        (b'{"n": 1' + b"[" * 100_000 + b"\n", ""),
    ],
)
def test_a_bad_line_names_its_row_and_the_next_one_is_read(tmp_path, monkeypatch, line, reason):
    monkeypatch.setattr("tfdml.data.inputs.jsonl._SAMPLE_ROWS", 2)
    good = {"n": 1, "v": [1, 2]}
    file = write(tmp_path, good, b"\n", good, line, good)
    rows, bad = read(opened("jsonl", file))
    assert len(rows) == 3
    assert [row.location for row in bad] == [f"{file}, row 4"]
    assert reason in bad[0].reason
    assert bad[0].content == line


@pytest.mark.parametrize(
    "row, message",
    [
        ({"a": {"b": 1}}, "the field 'a' holds dict values"),
        ({"a": None}, "the field 'a' is null in all rows looked at"),
        ({"a": [[1], [1, 2]]}, "the field 'a': .* --drop=a"),
        ([1], "no row that can be read .a JSON object is expected"),
    ],
)
def test_fields_that_are_no_feature(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        opened("jsonl", write(tmp_path, row))


def test_what_cannot_be_a_feature_can_be_left_out_or_named(tmp_path):
    file = write(tmp_path, {"a": {"b": 1}, "c": None, "d": 2})
    source = opened("jsonl", file, drop=("a",), features=("c:float64",))
    assert source.schema["c"] == Feature("tensor", "float64")
    assert values(source)[0]["d"] == 2
