"""The file of one task in a snapshot: raw data, then an index that says what it is, then a trailer.

    data      entry after entry, each from a multiple of 64 bytes on, zeros between
    index     JSON: who wrote it, and for each entry its name, dtype, shape, place and CRC-32C
    trailer   40 bytes: length of data, length of index, CRC-32C of the index and of these three, magic

The manifest holds the length and the index's checksum of every such file, the index the checksums of all its data:
every byte is covered. CRC-32C finds every single flipped bit and every burst up to 32 bits, and takes a twentieth of
SHA-256's time (13 GB/s against 1.6).
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import numpy as np

from tfdml.checkpoint.contents import ARRAY, BLOB, DOCUMENT
from tfdml.checkpoint.damage import Damaged
from tfdml.checkpoint.encoding import from_bytes
from tfdml.checkpoint.host_copy import Placed
from tfdml.shared_files import appears_when_whole

_MAGIC = b"tfdmlprt"
_HEAD = struct.Struct("<QQIxxxx")
_TRAILER_BYTES = _HEAD.size + 8 + len(_MAGIC)
_PIECE_BYTES = 1024 * 1024
_SMALL_BYTES = 256 * 1024  # entries up to this size are joined before they are written


@dataclass(frozen=True)
class PartDigest:
    """What the manifest knows of a part: enough to recognise it, and with the index all of its data."""

    num_bytes: int
    index_crc32c: int


@dataclass(frozen=True)
class Author:
    """Whose part a file is: of which run of the job, which save in it, and which task."""

    run: str
    save: int
    task: int


def crc32c(data: Any, value: int = 0) -> int:
    """CRC-32C of bytes or a uint8 array, going on from `value`."""
    return int(google_crc32c.extend(value, data))


def write_part(
    path: Path, author: Author, data: np.ndarray, placed: Sequence[Placed]
) -> PartDigest:
    """Write a part so that `path` is whole or absent.

    Raises:
        OSError: the storage is full or not writable.
    """
    with (
        appears_when_whole(path) as temporary,
        open(temporary, "wb", buffering=_SMALL_BYTES) as file,
    ):
        checksums = [_write_entry(file, data[place.offset : place.end]) for place in placed]
        index = _index_bytes(author, placed, checksums)
        head = _HEAD.pack(data.nbytes, len(index), crc32c(index))
        trailer = head + struct.pack("<Q", crc32c(head)) + _MAGIC
        file.write(index + trailer)
    return PartDigest(data.nbytes + len(index) + len(trailer), crc32c(index))


class PartFile:
    """A part that lies at `path`; its index is read at once, data when it is asked for.

    Raises:
        Damaged: the index is not what was written; what it is, in a few words.
    """

    def __init__(self, path: Path):
        self.path = path
        tail, size = _tail_of_file(path)
        self.author, self.digest, self._entries = read_tail(tail, size, path.name)

    def verify(self) -> None:
        """Read everything once.

        Raises:
            Damaged: names the first entry that is not what was written.
        """
        with _opened(self.path) as file:
            for entry in self._entries:
                _check(entry, _crc_of_range(file, entry), self.path)

    def sections(self, kind: str) -> set[str]:
        return {entry["section"] for entry in self._entries if entry["kind"] == kind}

    def names(self, section: str) -> list[str]:
        return [entry["name"] for entry in self._of(section)]

    def spec(self, section: str, name: str) -> tuple[str, tuple[int, ...]]:
        """(dtype, shape) of an array."""
        entry = self._entry(section, name)
        return entry["dtype"], tuple(entry["shape"])

    def array(self, section: str, name: str) -> np.ndarray:
        entry = self._entry(section, name)
        return from_bytes(self._read(entry), entry["dtype"], entry["shape"])

    def arrays(self, section: str) -> Iterator[tuple[str, np.ndarray]]:
        """(name, array) one after the other, in the order in which they were saved."""
        for entry in self._of(section):
            yield entry["name"], from_bytes(self._read(entry), entry["dtype"], entry["shape"])

    def document(self, section: str) -> Any:
        return json.loads(self._read(self._entry(section, "", DOCUMENT)).tobytes())

    def blob(self, section: str) -> bytes:
        return self._read(self._entry(section, "", BLOB)).tobytes()

    def _of(self, section: str) -> list[dict[str, Any]]:
        return [e for e in self._entries if e["section"] == section and e["kind"] == ARRAY]

    def _entry(self, section: str, name: str, kind: str = ARRAY) -> dict[str, Any]:
        for entry in self._entries:
            if (entry["section"], entry["name"], entry["kind"]) == (section, name, kind):
                return entry
        raise KeyError(f"{section}/{name}")

    def _read(self, entry: dict[str, Any]) -> np.ndarray:
        data = np.empty(entry["end"] - entry["offset"], np.uint8)
        with _opened(self.path) as file:
            file.seek(entry["offset"])
            _read_into(file, data)
        _check(entry, crc32c(data), self.path)
        return data[: entry["num_bytes"]]


def read_tail(tail: bytes, size: int, name: str) -> tuple[Author, PartDigest, list[dict[str, Any]]]:
    """What index and trailer say.

    Args:
        tail: the end of the file, the whole index in it.
        size: of the file, in bytes.
    """
    _, index_bytes = tail_lengths(tail, size, name)
    index = tail[-_TRAILER_BYTES - index_bytes : -_TRAILER_BYTES]
    digest = PartDigest(size, _HEAD.unpack_from(tail, len(tail) - _TRAILER_BYTES)[2])
    if len(index) != index_bytes or crc32c(index) != digest.index_crc32c:
        raise Damaged(f"the index of {name} has another checksum than its trailer says")
    parsed = json.loads(index)
    return Author(**parsed["author"]), digest, parsed["entries"]


def tail_lengths(tail: bytes, size: int, name: str) -> tuple[int, int]:
    """(bytes of data, bytes of index) from the last bytes of a file, at least TAIL_BYTES of them."""
    trailer = tail[-_TRAILER_BYTES:]
    if len(trailer) < _TRAILER_BYTES or not trailer.endswith(_MAGIC):
        raise Damaged(f"{name} ends early ({size:,} bytes)")
    head = trailer[: _HEAD.size]
    if struct.unpack_from("<Q", trailer, _HEAD.size)[0] != crc32c(head):
        raise Damaged(f"the trailer of {name} has another checksum than it says")
    data_bytes, index_bytes, _ = _HEAD.unpack(head)
    if data_bytes + index_bytes + _TRAILER_BYTES != size:
        raise Damaged(f"{name} has {size:,} bytes and should have another number")
    return data_bytes, index_bytes


TAIL_BYTES = 64 * 1024  # what is read at once: trailer, and mostly the index too


def _tail_of_file(path: Path) -> tuple[bytes, int]:
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        tail = _end_of(file, size, TAIL_BYTES)
        _, index_bytes = tail_lengths(tail, size, path.name)
        wanted = index_bytes + _TRAILER_BYTES
        return (tail if len(tail) >= wanted else _end_of(file, size, wanted)), size


def _end_of(file: BinaryIO, size: int, num_bytes: int) -> bytes:
    file.seek(max(0, size - num_bytes))
    return file.read()


def _opened(path: Path) -> BinaryIO:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise Damaged(f"{path.name} is missing") from None


def _write_entry(file: BinaryIO, data: np.ndarray) -> int:
    """Write the bytes and return their checksum.

    In pieces: they are still in a cache when they are written, and the checksum holds the interpreter's lock, which
    the training thread wants now and then.
    """
    value = 0
    for start in range(0, data.nbytes, _PIECE_BYTES):
        piece = data[start : start + _PIECE_BYTES]
        value = crc32c(piece, value)
        file.write(piece.data)
    return value


def _index_bytes(author: Author, placed: Sequence[Placed], checksums: Sequence[int]) -> bytes:
    entries = [
        {
            "section": place.entry.section,
            "name": place.entry.name,
            "kind": place.entry.kind,
            "dtype": place.entry.dtype,
            "shape": list(place.entry.shape),
            "offset": place.offset,
            "num_bytes": place.num_bytes,
            "end": place.end,
            "crc32c": checksum,
        }
        for place, checksum in zip(placed, checksums, strict=True)
    ]
    return json.dumps({"author": asdict(author), "entries": entries}).encode()


def _crc_of_range(file: BinaryIO, entry: dict[str, Any]) -> int:
    file.seek(entry["offset"])
    left, value = entry["end"] - entry["offset"], 0
    while left:
        piece = file.read(min(left, _PIECE_BYTES))
        if not piece:
            break
        value, left = crc32c(piece, value), left - len(piece)
    return value


def _check(entry: dict[str, Any], found: int, path: Path) -> None:
    if found != entry["crc32c"]:
        what = f"{entry['section']}/{entry['name']}".rstrip("/")
        raise Damaged(f"'{what}' in {path.name} has another checksum than its index says")


def _read_into(file: BinaryIO, data: np.ndarray) -> None:
    view, done = data.data, 0
    while done < len(view):
        count = file.readinto(view[done : done + 64 * 1024 * 1024])  # type: ignore[attr-defined]
        if not count:
            raise Damaged(f"{os.path.basename(file.name)} ends early")
        done += count
