"""The documents of a text data set: the standard library's own sources, or the files below a directory."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from tfdml.data.format.features import Feature, make_schema
from tfdml.data.inputs.file_input import FileInput
from tfdml.data.inputs.files import find_files, group_files
from tfdml.data.inputs.input import BadRow, Fragment, InputFile, Row
from tfdml.data.inputs.opening import read_file
from tfdml.errors import DataError
from tfdml.storage import is_remote

STANDARD_LIBRARY = "standard_library"
SUFFIXES = (".txt", ".text", ".md", ".rst", ".py")  # of what a directory stands for
FEATURE = "text"
SplitBy = Literal["file", "piece"]

# Not every installation has the tests; site-packages belongs to others.
_NOT_LIBRARY = ("site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__")
_PIECE_BYTES = 16 * 1024
_FRAGMENT_FILES = 4096
_FRAGMENT_BYTES = 16 * 1024 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def open_documents(dataset: str, split_by: SplitBy) -> Documents:
    """The documents that `dataset` names.

    Args:
        dataset: `standard_library`; or a directory, a pattern, a file or a URL.
        split_by: a document is a `file`, or a `piece` of one of some 16 KiB.

    Raises:
        DataError: there is no file of text.
    """
    files = _standard_library() if dataset == STANDARD_LIBRARY else _found(dataset)
    return Documents(files, split_by)


class Documents(FileInput):
    """Rows of one feature, `text`: files of UTF-8, or their pieces. Those without text are left out.

    A piece ends where a line does, so that no character is cut.
    """

    def __init__(self, files: tuple[InputFile, ...], split_by: SplitBy):
        self.files = files
        self.schema = make_schema([(FEATURE, Feature("text"))])
        self.split_by = split_by

    def find_fragments(self) -> list[Fragment]:
        return group_files(self.files, max_files=_FRAGMENT_FILES, max_bytes=_FRAGMENT_BYTES)

    def rows(self, fragment: Fragment) -> Iterator[Row | BadRow]:
        for file in fragment.items:
            try:
                text = read_file(file).removeprefix(_BYTE_ORDER_MARK)
            except (OSError, DataError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                yield BadRow(file.shown, f"the file cannot be read ({reason})")
                continue
            wrong = _what_is_wrong(text)
            if wrong:
                yield BadRow(file.shown, wrong, text)
            elif self.split_by == "file":
                if text.strip():
                    yield Row(file.relative, {FEATURE: text}, file.shown)
            else:
                for number, piece in enumerate(_pieces(text)):
                    yield Row(f"{file.relative}#{number}", {FEATURE: piece}, file.shown)


def _what_is_wrong(text: bytes) -> str:
    if b"\0" in text:
        return "the file is binary: it has a zero byte"
    try:
        text.decode()
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        return f"invalid UTF-8 in line {line} (byte 0x{text[error.start]:02x})"
    return ""


def _pieces(text: bytes) -> Iterator[bytes]:
    piece: list[bytes] = []
    size = 0
    for line in text.splitlines(keepends=True):
        piece.append(line)
        size += len(line)
        if size >= _PIECE_BYTES:
            yield b"".join(piece)
            piece, size = [], 0
    if b"".join(piece).strip():
        yield b"".join(piece)


def licence_and_source(dataset: str) -> tuple[str, str]:
    """For the manifest; nobody knows the licence of files that a user gives."""
    if dataset != STANDARD_LIBRARY:
        return "", dataset
    version = ".".join(map(str, sys.version_info[:3]))
    return (
        "PSF-2.0 (Python Software Foundation License, version 2)",
        f"the standard library of Python {version}, without its tests",
    )


def _standard_library() -> tuple[InputFile, ...]:
    root = sysconfig.get_path("stdlib")
    found = []
    for parent, directories, names in os.walk(root):
        directories[:] = [name for name in directories if name not in _NOT_LIBRARY]
        found += [os.path.join(parent, name) for name in names if name.endswith(".py")]
    if not found:
        raise DataError(
            f"{root} has no Python sources: this Python comes without its standard library's files. "
            "Set data.dataset to a directory of text."
        )
    return tuple(_file(path, root) for path in sorted(found))


def _file(path: str, root: str) -> InputFile:
    status = os.stat(path)
    relative = Path(path).relative_to(root).as_posix()
    return InputFile(path, relative, status.st_size, str(status.st_mtime_ns))


def _found(dataset: str) -> tuple[InputFile, ...]:
    if not is_remote(dataset) and not any(mark in dataset for mark in "*?["):
        path = Path(dataset).expanduser()
        if not path.exists():
            raise DataError(
                f"data.dataset={dataset}: no such file or directory. It is {STANDARD_LIBRARY}, a directory of text, "
                "or a pattern of files."
            )
    try:
        return find_files([dataset], SUFFIXES, example="texts/*.txt")
    except DataError as error:  # which speaks of the converter's flag
        raise DataError(str(error).replace("--input=", "data.dataset=", 1)) from None
