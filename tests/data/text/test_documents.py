"""Documents: which files are text, what they are cut into, and what is said of those that are none."""

from __future__ import annotations

import gzip

import pytest

from tests.data.text.folder import NAMES, text_of, write_folder
from tfdml.data.conversion.splits import Splits
from tfdml.data.inputs.input import BadRow
from tfdml.data.text.documents import STANDARD_LIBRARY, open_documents
from tfdml.data.text.survey import survey, texts
from tfdml.errors import DataError

SPLITS = Splits({"train": 0.7, "test": 0.3})


def rows(dataset, split_by="file"):
    documents = open_documents(str(dataset), split_by)
    return [row for fragment in documents.fragments() for row in documents.rows(fragment)]


def test_a_directory_stands_for_its_files_of_text(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "picture.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "z.md").write_bytes(b"\xef\xbb\xbfwith a mark\n")
    found = {row.key: row.values["text"].decode() for row in rows(tmp_path)}
    assert found.pop("z.md") == "with a mark\n"
    assert found == {f"sub/{name}" if name < "m" else name: text_of(name) for name in NAMES}


def test_pieces_are_whole_lines_and_all_of_the_text(tmp_path):
    text = "".join(f"line {number} äöü\n" for number in range(5000)) + "no end"
    (tmp_path / "long.txt").write_text(text, encoding="utf-8")
    (tmp_path / "short.txt").write_text("short")
    found = {row.key: row.values["text"].decode() for row in rows(tmp_path, "piece")}
    assert found.pop("short.txt#0") == "short"
    assert len(found) == 6
    assert "".join(found[f"long.txt#{number}"] for number in range(6)) == text
    assert all(piece.endswith("\n") for piece in list(found.values())[:-1])


def test_a_document_stays_in_its_split_when_others_come(tmp_path):
    write_folder(tmp_path)
    before = {text: split for split, text in texts(open_documents(str(tmp_path), "file"), SPLITS)}
    assert set(before.values()) == {"train", "test"}
    (tmp_path / "another.txt").write_text("another")
    after = {text: split for split, text in texts(open_documents(str(tmp_path), "file"), SPLITS)}
    assert {text: after[text] for text in before} == before


def test_the_survey_counts_bytes_and_compresses_the_held_out_documents(tmp_path):
    write_folder(tmp_path)
    documents = open_documents(str(tmp_path), "file")
    facts = survey(documents, SPLITS, skips_errors=False)
    held_out = b"".join(text for split, text in texts(documents, SPLITS) if split == "test")
    assert facts.bytes["test"] == len(held_out)
    assert facts.gzip_bytes == len(gzip.compress(held_out, 9))
    assert facts.gzip_bits_per_byte == 8 * facts.gzip_bytes / len(held_out)
    assert sum(facts.documents.values()) == len(NAMES)
    assert sum(facts.bytes.values()) == sum(len(text_of(name).encode()) for name in NAMES)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"GIF\0\x01", "the file is binary: it has a zero byte"),
        (b"first\nsecond \xe4\n", "invalid UTF-8 in line 2 (byte 0xe4)"),
    ],
)
def test_a_file_that_is_no_text_is_named(tmp_path, content, reason):
    write_folder(tmp_path)
    file = tmp_path / "q.txt"
    file.write_bytes(content)
    (bad,) = (row for row in rows(tmp_path) if isinstance(row, BadRow))
    assert (bad.location, bad.reason) == (str(file), reason)
    documents = open_documents(str(tmp_path), "file")
    with pytest.raises(DataError) as caught:
        survey(documents, SPLITS, skips_errors=False)
    assert str(caught.value) == (
        f"{file}: {reason}. Take the file away, or set data.on_error=skip."
    )
    assert sum(survey(documents, SPLITS, skips_errors=True).documents.values()) == len(NAMES) - 1


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    write_folder(tmp_path)
    documents = open_documents(str(tmp_path), "file")
    (tmp_path / "x.txt").unlink()  # permissions do not keep root from reading
    with pytest.raises(DataError, match=r"x.txt: the file cannot be read \(No such file"):
        survey(documents, SPLITS, skips_errors=False)


def test_folders_without_text_are_one_sentence(tmp_path):
    with pytest.raises(DataError, match=r"^data.dataset=no/such: no such file or directory. It is"):
        open_documents("no/such", "file")
    (tmp_path / "picture.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(DataError) as caught:
        open_documents(str(tmp_path), "file")
    assert str(caught.value) == (
        f"data.dataset={tmp_path}: the directory has no file with .txt or .text or .md or .rst or .py, "
        "but 1 of .jpg."
    )
    (tmp_path / "blank.txt").write_text("\n \n")
    with pytest.raises(DataError, match=r"1 files, .*blank.txt the first, and none has text"):
        survey(open_documents(str(tmp_path), "file"), SPLITS, skips_errors=False)


def test_one_file_cannot_be_split_by_files(tmp_path):
    (tmp_path / "one.txt").write_text("some words\n" * 20_000)
    with pytest.raises(DataError, match=r"Of 1 documents, .*Set another .*data.split_by=piece"):
        survey(open_documents(str(tmp_path), "file"), SPLITS, skips_errors=False)
    facts = survey(open_documents(str(tmp_path), "piece"), SPLITS, skips_errors=False)
    assert min(facts.documents.values()) >= 1


def test_the_standard_library_is_its_sources_without_tests_and_packages():
    documents = open_documents(STANDARD_LIBRARY, "file")
    names = {file.relative for file in documents.files}
    assert {"os.py", "json/decoder.py"} <= names
    parts = {part for name in names for part in name.split("/")}
    assert not parts & {"site-packages", "test", "tests", "__pycache__"}
    facts = survey(documents, Splits({"train": 0.95, "test": 0.05}), skips_errors=False)
    assert facts.bytes["train"] > 20 * facts.bytes["test"] / 2
    assert 1.7 < facts.gzip_bits_per_byte < 2.3
