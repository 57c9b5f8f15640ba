"""Parquet: every kind of column, row groups as fragments, and files that do not fit together."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.data.inputs.reading import opened, read, values
from tfdml.data.format.features import Feature
from tfdml.errors import DataError

N = 7


def png(number=0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), number, np.uint8)).save(file, "PNG")
    return file.getvalue()


def all_kinds() -> pa.Table:
    matrix = np.arange(N * 6, dtype=np.float32).reshape(N, 6)
    inner = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), 3)
    return pa.table(
        {
            "i8": pa.array(range(N), pa.int8()),
            "u64": pa.array(range(N), pa.uint64()),
            "f64": pa.array([0.1 * n for n in range(N)], pa.float64()),
            "f16": pa.array(np.arange(N, dtype=np.float16)),
            "gaps": pa.array([None, *range(1, N)], pa.float32()),
            "ok": pa.array([n % 2 == 0 for n in range(N)]),
            "text": pa.array([f"Köln {n}" for n in range(N - 1)] + [None]),
            "word": pa.array(["a", "b"] * 3 + ["a"]).dictionary_encode(),
            "raw": pa.array([bytes([n, 255]) for n in range(N)], pa.binary()),
            "matrix": pa.FixedSizeListArray.from_arrays(inner, 2),
            "list": pa.array([list(range(n)) for n in range(N)], pa.list_(pa.int32())),
            "image": pa.array([png(n) for n in range(N)]),
            "hf": pa.array([{"bytes": png(n), "path": None} for n in range(N)]),
        }
    )


def test_every_kind_of_column(tmp_path):
    pq.write_table(all_kinds(), tmp_path / "t.parquet", row_group_size=3)
    source = opened("parquet", tmp_path / "t.parquet")
    image = Feature("image", shape=(None, None, 3), encoding="png")
    assert source.schema == {
        "i8": Feature("tensor", "int8"),
        "u64": Feature("tensor", "uint64"),
        "f64": Feature("tensor", "float64"),
        "f16": Feature("tensor", "float16"),
        "gaps": Feature("tensor", "float32"),
        "ok": Feature("tensor", "bool"),
        "text": Feature("text"),
        "word": Feature("text"),
        "raw": Feature("tensor", "string"),
        "matrix": Feature("tensor", "float32", (2, 3)),
        "list": Feature("tensor", "int32", (None,)),
        "image": image,
        "hf": image,
    }
    rows = values(source)
    for n, row in enumerate(rows):
        assert (row["i8"], row["u64"], row["f64"], row["f16"]) == (n, n, 0.1 * n, n)
        assert row["ok"] is (n % 2 == 0)
        assert row["text"] == (f"Köln {n}".encode() if n < N - 1 else b"")
        assert row["word"] == b"ab"[n % 2 : n % 2 + 1]
        assert row["raw"] == bytes([n, 255])
        np.testing.assert_array_equal(row["matrix"], np.arange(n * 6, n * 6 + 6).reshape(2, 3))
        assert row["matrix"].dtype == np.float32
        assert row["list"].tolist() == list(range(n)) and row["list"].dtype == np.int32
        assert row["image"] == row["hf"] == png(n)
    assert math.isnan(rows[0]["gaps"])


def test_row_groups_are_fragments(tmp_path, monkeypatch):
    monkeypatch.setattr("tfdml.data.inputs.parquet._FRAGMENT_BYTES", 1)
    for name, start in (("a", 0), ("b", 100)):
        column = pa.array(range(start, start + 10), pa.int64())
        pq.write_table(pa.table({"n": column}), tmp_path / f"{name}.parquet", row_group_size=4)
    source = opened("parquet", tmp_path)
    assert len(source.fragments()) == 6
    rows, _ = read(source)
    assert [row.values["n"] for row in rows] == [*range(10), *range(100, 110)]
    assert [row.key for row in rows] == [
        f"{name}.parquet#{n}" for name in "ab" for n in range(1, 11)
    ]


def test_labels_and_keys(tmp_path):
    pq.write_table(
        pa.table({"y": ["dog", "cat", "dog"], "id": ["x", "y", "z"], "n": [3, 4, 5]}),
        tmp_path / "t.parquet",
    )
    source = opened("parquet", tmp_path, label="y", key="id", select=("y",))
    assert source.schema == {"y": Feature("label", class_names=("cat", "dog"))}
    rows, bad = read(source)
    assert [(row.key, row.values) for row in rows] == [
        ("x", {"y": 1}),
        ("y", {"y": 0}),
        ("z", {"y": 1}),
    ]
    (bad,) = read(opened("parquet", tmp_path, label="n", class_names=list("abcde")))[1]
    assert bad.location == f"{tmp_path}/t.parquet, row 3"
    assert bad.reason == "column 'n': the label 5 is none of 0 to 4"


def test_class_names_that_hugging_face_writes_into_files(tmp_path):
    features = {
        "y": {"names": ["no", "yes"], "_type": "ClassLabel"},
        "n": {"dtype": "int64", "_type": "Value"},
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"y": [1, 0], "n": [5, 6]}).replace_schema_metadata(metadata)
    pq.write_table(table, tmp_path / "t.parquet")
    source = opened("parquet", tmp_path)
    assert source.schema["y"] == Feature("label", class_names=("no", "yes"))
    assert source.schema["n"] == Feature("tensor", "int64")
    assert [row["y"] for row in values(source)] == [1, 0]
    pq.write_table(table.replace_schema_metadata({"huggingface": "{"}), tmp_path / "t.parquet")
    assert opened("parquet", tmp_path).schema["y"] == Feature("tensor", "int64")


def test_rows_that_are_not_what_the_first_are(tmp_path, monkeypatch):
    monkeypatch.setattr("tfdml.data.inputs.parquet._SAMPLE_ROWS", 1)
    pq.write_table(
        pa.table({"n": [1, None], "v": [[1, 2], [1, 2, 3]], "i": [png(), png()[:50]]}),
        tmp_path / "t.parquet",
    )
    for name, reason in (
        ("n", "column 'n': no value, and int64 has none for that"),
        ("v", "column 'v': its shape is 3, not 2"),
        ("i", "column 'i': the image is truncated"),
    ):
        rows, bad = read(opened("parquet", tmp_path, select=(name,)))
        assert len(rows) == 1
        assert [row.reason for row in bad] == [reason]


def test_text_that_is_no_utf8_is_one_bad_row(tmp_path):
    good = pa.array([b"a", b"\xff", "ü".encode()], pa.binary())
    pq.write_table(pa.table({"t": good.view(pa.string())}), tmp_path / "t.parquet")
    rows, bad = read(opened("parquet", tmp_path))
    assert [row.values["t"] for row in rows] == [b"a", "ü".encode()]
    assert [(row.location, row.reason) for row in bad] == [
        (f"{tmp_path}/t.parquet, row 2", "column 't': no UTF-8 at byte 0")
    ]


def test_errors(tmp_path):
    file = tmp_path / "t.parquet"
    file.write_bytes(b"PAR1 nothing of the sort")
    with pytest.raises(DataError, match=r"t.parquet: no Parquet file that can be read"):
        opened("parquet", file)
    pq.write_table(pa.table({"a": [{"b": 1, "c": 2}]}), file)
    with pytest.raises(DataError, match=r"the column 'a' is of the type struct.*--drop=a"):
        opened("parquet", file)
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), file)
    with pytest.raises(DataError, match="has no rows"):
        opened("parquet", file)
    pq.write_table(pa.table({"a": [1]}), file)
    pq.write_table(pa.table({"a": [1.5]}), tmp_path / "u.parquet")
    with pytest.raises(
        DataError, match=r"u.parquet has other columns than .*the column 'a' differs"
    ):
        opened("parquet", tmp_path)
    pq.write_table(pa.Table.from_arrays([pa.array([1])] * 2, ["a", "a"]), file)
    with pytest.raises(DataError, match="two features have the name 'a', the columns 1 and 2"):
        opened("parquet", file)


def test_a_file_that_is_damaged_inside(tmp_path):
    file = tmp_path / "t.parquet"
    numbers = np.random.default_rng(0).integers(0, 2**62, 3000)
    options = {"compression": "zstd", "use_dictionary": False, "row_group_size": 1000}
    pq.write_table(pa.table({"a": numbers}), file, **options)
    second = pq.read_metadata(file).row_group(1).column(0).data_page_offset
    content = bytearray(file.read_bytes())
    content[second : second + 40] = bytes(40)
    file.write_bytes(content)
    rows, bad = read(opened("parquet", file))
    assert [row.values["a"] for row in rows] == [*numbers[:1000], *numbers[2000:]]
    assert rows[-1].key == "t.parquet#3000"
    assert [row.location for row in bad] == [f"{file}, rows 1001 to 2000"]
    assert "no Parquet file that can be read" in bad[0].reason
