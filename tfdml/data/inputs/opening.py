"""Opening the files of an input, on this machine or behind a URL."""

from __future__ import annotations

import io
from typing import BinaryIO

from tfdml.data.inputs.input import InputFile
from tfdml.errors import DataError
from tfdml.storage import Storage, is_remote, storage_for

_REMOTE_BLOCK_BYTES = 4 * 1024 * 1024


def open_file(file: InputFile) -> BinaryIO:
    """The file's bytes, seekable; of a remote file only the blocks that are read are fetched."""
    if not is_remote(file.path):
        return open(file.path, "rb")
    directory, _, name = file.path.rpartition("/")
    return io.BufferedReader(
        _RemoteFile(storage_for(directory), name, file.size), _REMOTE_BLOCK_BYTES
    )


def read_file(file: InputFile) -> bytes:
    """The whole file."""
    if not is_remote(file.path):
        with open(file.path, "rb", buffering=0) as opened:
            return opened.read()
    directory, _, name = file.path.rpartition("/")
    return storage_for(directory).read_bytes(name)


def refuse_compressed(file: InputFile) -> None:
    """Say that text is compressed before thousands of rows are called bad."""
    with open_file(file) as data:
        start = data.read(6)
    for magic, name in (
        (b"\x1f\x8b", "gzip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ", "xz"),
        (b"(\xb5/\xfd", "zstd"),
    ):
        if start.startswith(magic):
            raise DataError(f"{file.shown}: the file is compressed with {name}. Unpack it first.")


class _RemoteFile(io.RawIOBase):
    """A remote file, read in the ranges that its reader asks for."""

    def __init__(self, storage: Storage, name: str, size: int):
        self._storage, self._name, self._size, self._at = storage, name, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        stop = min(self._at + len(buffer), self._size)
        data = self._storage.read_bytes(self._name, self._at, stop) if stop > self._at else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
