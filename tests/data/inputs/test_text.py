"""Plain text: documents as files and as lines, as they are in the file."""

from __future__ import annotations

import pytest

from tests.data.inputs.reading import opened, read
from tfdml.errors import ConfigError, DataError


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.txt").write_bytes("Erste Zeile,\r\nzweite: Köln\n".encode())
    (tmp_path / "2.txt").write_bytes(b"\xef\xbb\xbfmarked\n\n \nlast")
    return tmp_path


def test_a_file_is_a_document(texts):
    rows, bad = read(opened("text", texts))
    assert bad == []
    assert {row.key: row.values["text"] for row in rows} == {
        "a/1.txt": (texts / "a" / "1.txt").read_bytes(),
        "2.txt": b"marked\n\n \nlast",
    }


def test_a_line_is_a_document(texts):
    rows, bad = read(opened("text", texts, documents="line"))
    assert bad == []
    assert {row.key: row.values["text"].decode() for row in rows} == {
        "2.txt#1": "marked",
        "2.txt#4": "last",
        "a/1.txt#1": "Erste Zeile,",
        "a/1.txt#2": "zweite: Köln",
    }


@pytest.mark.parametrize("documents", ["file", "line"])
def test_what_is_no_text_names_its_place(texts, documents):
    (texts / "bad.txt").write_bytes(b"fine\nnot \xfe fine\n")
    (texts / "empty.txt").touch()
    rows, bad = read(opened("text", texts, documents=documents))
    assert len(rows) == (2 if documents == "file" else 5)
    line = " in line 2" if documents == "file" else ""
    assert {row.location.removeprefix(f"{texts}/"): row.reason for row in bad} == {
        "bad.txt" if documents == "file" else "bad.txt, line 2": f"invalid UTF-8{line} (byte 0xfe)",
        "empty.txt": "the file is empty",
    }


def test_many_documents_are_several_fragments(texts, monkeypatch):
    monkeypatch.setattr("tfdml.data.inputs.text._FRAGMENT_FILES", 1)
    source = opened("text", texts)
    assert len(source.fragments()) == 2
    assert len(read(source)[0]) == 2


def test_errors(texts):
    with pytest.raises(DataError, match=r"has no file with \.csv or \.tsv, but 2 of \.txt"):
        opened("csv", texts)
    with pytest.raises(ConfigError, match="--label is not for --format=text; it is for csv"):
        opened("text", texts, label="text")
    with pytest.raises(ConfigError, match="--documents=lines: it is 'file' or 'line'"):
        opened("text", texts, documents="lines")
