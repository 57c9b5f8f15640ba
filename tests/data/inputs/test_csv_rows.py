"""CSV: the values that Python's csv module reads, cuts at record boundaries only, and rows that are broken."""

from __future__ import annotations

import csv
import io
import math
import random

import numpy as np
import pytest
from PIL import Image

from tests.data.inputs.reading import opened, read, values
from tfdml.data.format.features import Feature
from tfdml.errors import ConfigError, DataError


@pytest.fixture
def small_blocks(monkeypatch):
    """Fragments of a few records."""
    monkeypatch.setattr("tfdml.data.inputs.cuts._SMALLEST_FRAGMENT_BYTES", 20)
    monkeypatch.setattr("tfdml.data.inputs.csv_records._BLOCK_BYTES", 7)


def write(tmp_path, text, name="t.csv"):
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def tensors(dtype, *names):
    return {name: Feature("tensor", dtype) for name in names}


def test_types_are_told_from_the_rows(tmp_path):
    file = write(tmp_path, "n,x,b,city\n1,0.5,true,Köln\n-2,,false,\n3,1e3,true,NA\n")
    source = opened("csv", file)
    assert source.schema == {
        **tensors("int64", "n"),
        **tensors("float32", "x"),
        **tensors("bool", "b"),
        "city": Feature("text"),
    }
    rows, bad = read(source)
    assert bad == []
    assert [row.key for row in rows] == ["t.csv#2", "t.csv#3", "t.csv#4"]
    assert rows[0].values == {"n": 1, "x": 0.5, "b": True, "city": "Köln".encode()}
    assert math.isnan(rows[1].values["x"])
    assert [row.values["city"] for row in rows[1:]] == [b"", b"NA"]


def test_an_integer_column_with_gaps_is_read_as_float(tmp_path):
    source = opened("csv", write(tmp_path, "n,m\n1,2\n,3\n"))
    assert source.schema == {**tensors("float32", "n"), **tensors("int64", "m")}


def test_a_few_errors_do_not_make_a_column_text(tmp_path):
    lines = [f"{n},{n % 3}" for n in range(100)]
    lines[40], lines[60] = "4o,1", "60,O"
    source = opened("csv", write(tmp_path, "\n".join(["n,y", *lines])), label="y")
    assert source.schema == {**tensors("int64", "n"), "y": Feature("label")}
    rows, bad = read(source)
    assert len(rows) == 98
    assert bad[0].reason.startswith(
        "column 'n': '4o' is no integer (the rows looked at first are int64"
    )
    assert bad[1].reason == "column 'y': the label 'O' is no integer"
    numbered = write(tmp_path, "flat\n" + "".join(f"{n}\n{n}b\n" for n in range(50)))
    assert opened("csv", numbered).schema == {"flat": Feature("text")}


def test_flags_say_what_columns_hold(tmp_path):
    file = write(tmp_path, "5;1 2 3;a;x\n6;[4, 5, 6];b;y\n")
    source = opened(
        "csv",
        file,
        columns=("id", "v", "kind", "t"),
        delimiter=";",
        features=("id:float16", "v:float32:3", "kind:label"),
        key="t",
        drop=("t",),
    )
    assert source.schema == {
        **tensors("float16", "id"),
        "v": Feature("tensor", "float32", (3,)),
        "kind": Feature("label", class_names=("a", "b")),
    }
    rows, bad = read(source)
    assert bad == []
    assert [row.key for row in rows] == ["x", "y"]
    assert [row.values["kind"] for row in rows] == [0, 1]
    np.testing.assert_array_equal([row.values["v"] for row in rows], [[1, 2, 3], [4, 5, 6]])


def test_labels(tmp_path):
    file = write(tmp_path, "k,x\n1,2\n0,3\n")
    assert opened("csv", file, label="k").schema["k"] == Feature("label")
    named = opened("csv", file, label="k", class_names=("no", "yes"))
    assert [row["k"] for row in values(named)] == [1, 0]
    assert named.schema["k"].class_names == ("no", "yes")
    digits = opened("csv", write(tmp_path, "k\n7\n3\n"), label="k", class_names=("3", "7"))
    assert [row["k"] for row in values(digits)] == [1, 0]


@pytest.mark.parametrize(
    "line, reason",
    [
        (b"1,2", "2 columns, there should be 3"),
        (b"1,cat,b,4", "4 columns, there should be 3"),
        (b"1,dgo,b", "column 'y': the class 'dgo' is none of the 2 known, perhaps 'dog' is meant"),
        (b"1,7,b", "column 'y': the label 7 is none of 0 to 1"),
        (b"1,,b", "column 'y': no label"),
        (b"1.5,cat,b", "column 'x': '1.5' is no integer"),
        (b",cat,b", "column 'x': no value, and int64 has none for that"),
        (b"9223372036854775808,cat,b", "does not fit into int64"),
        (b"1,cat,\xff", "invalid UTF-8 in column 3 (byte 0xff)"),
        (b'1,cat,"b', "a quote that is opened and not closed"),
        (b'1,cat,"b"c', "text behind a closing quote"),
        (b"1,cat\rb,c", "a carriage return without a line feed"),
    ],
)
def test_a_bad_row_names_its_row_and_the_next_one_is_read(tmp_path, line, reason):
    file = write(tmp_path, b'x,y,z\n1,cat,"a\nb"\n' + line + b"\n3,dog,c\n")
    flags = {"features": ("x:int64",), "label": "y", "class_names": ("cat", "dog")}
    rows, bad = read(opened("csv", file, **flags))
    assert [row.values for row in rows] == [
        {"x": 1, "y": 0, "z": b"a\nb"},
        {"x": 3, "y": 1, "z": b"c"},
    ]
    (row,) = bad
    assert row.location == f"{file}, row 3"
    assert reason in row.reason
    assert row.content == line + b"\n"


def test_a_type_that_was_guessed_says_how_to_correct_it(tmp_path, monkeypatch):
    monkeypatch.setattr("tfdml.data.inputs.csv_rows._SAMPLE_ROWS", 2)
    (row,) = read(opened("csv", write(tmp_path, "x\n1\n2\n2.5\n")))[1]
    assert row.reason == (
        "column 'x': '2.5' is no integer (the rows looked at first are int64; say --features=x:KIND if it "
        "is not)"
    )


def test_empty_files_are_bad_rows(tmp_path):
    write(tmp_path, "", "a.csv")
    write(tmp_path, "x\n1\n", "b.csv")
    write(tmp_path, "x\n", "c.csv")
    rows, bad = read(opened("csv", tmp_path))
    assert len(rows) == 1
    assert [(row.location, row.reason) for row in bad] == [
        (str(tmp_path / "a.csv"), "the file is empty")
    ]


def test_byte_order_mark_and_windows_line_ends(tmp_path):
    file = write(tmp_path, b'\xef\xbb\xbf"x",y\r\n1,"a\r\nb"\r\n\r\n2,c\r\n')
    rows, bad = read(opened("csv", file))
    assert bad == []
    assert [row.values for row in rows] == [{"x": 1, "y": b"a\r\nb"}, {"x": 2, "y": b"c"}]
    assert [row.key for row in rows] == ["t.csv#2", "t.csv#4"]


def test_many_fragments_give_what_the_csv_module_reads(tmp_path, small_blocks):
    generator = random.Random(5)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["a", "b"])
    written = [
        ["".join(generator.choices('xy ,"\n', k=generator.randint(1, 12))) + "t" for _ in "ab"]
        for _ in range(200)
    ]
    writer.writerows(written)
    source = opened("csv", write(tmp_path, text.getvalue()), features=("a:text", "b:text"))
    assert len(source.fragments()) > 50
    assert [[row["a"].decode(), row["b"].decode()] for row in values(source)] == written


@pytest.mark.parametrize("seed", range(30))
def test_broken_quotes_give_the_same_rows_in_any_fragments(tmp_path, monkeypatch, seed):
    generator = random.Random(seed)
    text = "a,b\n" + "".join(generator.choices('x,,"\n', weights=[4, 1, 1, 1, 2], k=400))
    file = write(tmp_path, text)
    options = {"features": ("a:text", "b:text")}
    whole = opened("csv", file, **options)
    assert len(whole.fragments()) == 1
    expected = [[(r.location, getattr(r, "values", None)) for r in each] for each in read(whole)]
    monkeypatch.setattr("tfdml.data.inputs.cuts._SMALLEST_FRAGMENT_BYTES", 20)
    monkeypatch.setattr("tfdml.data.inputs.csv_records._BLOCK_BYTES", 7)
    cut = opened("csv", file, **options)
    assert len(cut.fragments()) > 3
    assert [
        [(r.location, getattr(r, "values", None)) for r in each] for each in read(cut)
    ] == expected


def test_images_that_a_column_names(tmp_path):
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "a.png")
    file = write(tmp_path, "photo,y\na.png,0\nb.png,1\n")
    source = opened("csv", file, features=("photo:image",))
    assert source.schema["photo"] == Feature("image", shape=(None, None, 1), encoding="png")
    rows, bad = read(source)
    assert rows[0].values["photo"] == (tmp_path / "a.png").read_bytes()
    assert bad[0].reason == f"column 'photo': there is no image {tmp_path}/b.png that can be read"


@pytest.mark.parametrize(
    "text, options, error, message",
    [
        ("x,x\n1,2\n", {}, DataError, "two features have the name 'x', the columns 1 and 2"),
        ("x,\n1,2\n", {}, DataError, "column 2 has no name"),
        ("x,y\n", {}, DataError, "no row with 2 columns"),
        ("", {}, DataError, "the file is empty"),
        ("x\n1\n", {"label": "z"}, ConfigError, "--label: .*t.csv has no column 'z'"),
        ("price\n1\n", {"key": "prize"}, ConfigError, "Did you mean 'price'"),
        ("x\n1\n", {"drop": ("x",)}, ConfigError, "--drop leaves no feature"),
        ("x\n1\n", {"features": ("x:float",)}, ConfigError, "NAME:KIND with image, label, text"),
        ("x\n1\n", {"features": ("x:float32:a",)}, ConfigError, "a shape is like 28x28"),
        (
            "x\n1\n",
            {"features": ("x:text", "x:label")},
            ConfigError,
            "two features of the name 'x'",
        ),
        ("x\n1\n", {"delimiter": ";;"}, ConfigError, "it is one ASCII character"),
        ("x\n1\n", {"columns": ("x", "x")}, ConfigError, "--columns has 'x' twice"),
    ],
)
def test_errors(tmp_path, text, options, error, message):
    with pytest.raises(error, match=message):
        opened("csv", write(tmp_path, text), **options)


def test_files_with_other_columns_are_named(tmp_path):
    write(tmp_path, "x,y\n1,2\n", "a.csv")
    write(tmp_path, "y,x\n1,2\n", "b.csv")
    with pytest.raises(DataError, match=r"b.csv has the columns y, x, but .*a.csv has x, y"):
        opened("csv", tmp_path)
