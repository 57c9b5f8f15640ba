"""What inputs made of files share: small files together, names that are no text, flags of other formats."""

from __future__ import annotations

import bz2
import gzip
import os

import h5py
import numpy as np
import pytest

from tests.data.inputs.reading import opened, read
from tests.data.inputs.test_image_folder import encoded
from tfdml.data.inputs.input import open_input
from tfdml.data.inputs.options import INPUT_FLAGS, InputOptions
from tfdml.errors import ConfigError, DataError


@pytest.mark.parametrize(
    "format, suffix, content",
    [("csv", ".csv", "x\n{}\n"), ("jsonl", ".jsonl", '{{"x": {}}}\n'), ("text", ".txt", "{}\n")],
)
def test_small_files_share_fragments(tmp_path, monkeypatch, format, suffix, content):
    monkeypatch.setattr("tfdml.data.inputs.cuts._MOST_FILES", 7)
    for n in range(20):
        (tmp_path / f"{n:02}{suffix}").write_text(content.format(n))
    (tmp_path / f"08{suffix}").write_text("")
    options = {"documents": "line"} if format == "text" else {}
    source = opened(format, tmp_path, **options)
    assert len(source.fragments()) == 3
    rows, bad = read(source)
    values = [row.values["x"] if "x" in row.values else int(row.values["text"]) for row in rows]
    assert values == [n for n in range(20) if n != 8]
    assert [row.location for row in bad] == [f"{tmp_path}/08{suffix}"]
    row = 2 if format == "csv" else 1
    assert rows[-1].key == f"19{suffix}#{row}"


def test_a_large_file_among_small_ones(tmp_path, monkeypatch):
    monkeypatch.setattr("tfdml.data.inputs.cuts._SMALLEST_FRAGMENT_BYTES", 100)
    monkeypatch.setattr("tfdml.data.inputs.cuts._BLOCK_BYTES", 50)
    for name, lines in (("a", 1), ("b", 200), ("c", 1), ("d", 1)):
        (tmp_path / f"{name}.txt").write_text("".join(f"{name}{n}\n" for n in range(lines)))
    source = opened("text", tmp_path, documents="line")
    assert [len(f.items) for f in source.fragments()[-1:]] == [2]
    assert len(source.fragments()) > 5
    rows, _ = read(source)
    assert [row.values["text"] for row in rows[:2]] == [b"a0", b"b0"]
    assert len(rows) == 203


def test_files_are_read_once_to_find_the_fragments(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text("x\n1\n")
    source = opened("csv", tmp_path)
    first = source.fragments()
    monkeypatch.setattr("tfdml.data.inputs.csv_rows.fragments_of_files", None)
    assert source.fragments() is first


def test_a_name_that_is_no_text(tmp_path):
    directory = os.fsencode(tmp_path) + b"/\xff"
    try:
        os.makedirs(directory)
    except OSError:
        pytest.skip("this file system has no such names")
    for name, content in ((b"ok.png", encoded()), (b"no.png", b"")):
        with open(directory + b"/" + name, "wb") as file:
            file.write(content)
    rows, bad = read(opened("image_folder", tmp_path))
    for text in (rows[0].key, rows[0].location, bad[0].location):
        assert "�" in text.encode().decode()


@pytest.mark.parametrize("format", ["csv", "jsonl", "text"])
@pytest.mark.parametrize("pack, name", [(gzip.compress, "gzip"), (bz2.compress, "bzip2")])
def test_compressed_text_is_told(tmp_path, format, pack, name):
    (tmp_path / "t.csv").write_bytes(pack(b"x\n1\n"))
    with pytest.raises(DataError, match=f"compressed with {name}. Unpack it first"):
        opened(format, tmp_path / "t.csv")


def test_a_file_of_one_endless_line_is_not_read_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("tfdml.data.inputs.cuts.MAX_LINE_BYTES", 1 << 20)
    (tmp_path / "t.txt").write_bytes(b"x" * (3 << 20))
    with pytest.raises(DataError, match="is this a file of lines"):
        read(opened("text", tmp_path, documents="line"))


def test_a_document_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr("tfdml.data.inputs.text._LARGEST_DOCUMENT_BYTES", 10)
    (tmp_path / "t.txt").write_bytes(b"x" * 11)
    (row,) = read(opened("text", tmp_path))[1]
    assert "read lines with --documents=line" in row.reason


def test_memory_is_planned_for_objects_of_any_size(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        data = file.create_dataset("i", (100,), h5py.vlen_dtype(np.uint8))
        for n in range(100):
            data[n] = np.zeros(50_000, np.uint8)
    source = opened("hdf5", tmp_path / "t.h5", features=("i:text",))
    assert source._row_bytes > 45_000


@pytest.mark.parametrize(
    "format, option, message",
    [
        ("parquet", {"delimiter": ";"}, "--delimiter is not for --format=parquet; it is for csv"),
        ("image_folder", {"label": "x"}, "--label is not for --format=image_folder"),
        ("text", {"drop": ("text",)}, "--drop is not for --format=text"),
        ("csv", {"documents": "line"}, "--documents is not for --format=csv; it is for text"),
        ("digits", {"class_names": ("a",)}, "--class_names is not for --format=digits"),
        ("csv", {"data_dir": "d"}, "--data_dir is not for --format=csv; it is for tfds"),
        ("text", {"documents": "page"}, "--documents=page: it is 'file' or 'line'"),
        ("csv", {"select": ("a",), "drop": ("b",)}, "--select and --drop are both given"),
        ("csv", {"class_names": ("a", "b", "a")}, "--class_names has 'a' twice"),
    ],
)
def test_options_that_do_not_fit(format, option, message):
    with pytest.raises(ConfigError, match=message):
        open_input(format, ["x"], InputOptions(**option))


def test_options_from_flags():
    values = {flag.name: flag.default for flag in INPUT_FLAGS}
    assert InputOptions.from_flags(values) == InputOptions()
    options = InputOptions.from_flags({"drop": ["a"], "key": None}, reencode=True)
    assert options == InputOptions(drop=("a",), reencode=True)


def test_class_names_from_a_file(tmp_path):
    (tmp_path / "names.txt").write_text("dog\ncat\n")
    options = InputOptions(class_names=(str(tmp_path / "names.txt"),))
    assert options.read_class_names() == ("dog", "cat")
    (tmp_path / "names.txt").write_text("dog\n\n")
    with pytest.raises(ConfigError, match="has an empty line"):
        options.read_class_names()
