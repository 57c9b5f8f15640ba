"""TFRecord files without TensorFlow: framing with checksums, writing, scanning, reading; GZIP too.

A record is framed as: its length (uint64), the length's checksum, the record, its checksum. The
checksum is CRC-32C, masked as TensorFlow does. All numbers are little-endian.
"""

from __future__ import annotations

import gzip
import io
import mmap
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import IO, Any

import google_crc32c
import numpy as np

from tfdml.errors import DataError

HEADER_BYTES = 12  # length and its checksum
FOOTER_BYTES = 4  # checksum of the record
COMPRESSIONS = ("", "GZIP")

_HEADER = struct.Struct("<QI")
_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
_GZIP_MAGIC = b"\x1f\x8b\x08"
_GZIP_LEVEL = 6  # zlib's default: what TensorFlow's own writer uses
_CHUNK_BYTES = 1 << 20

_crc32c = google_crc32c.value


class RecordError(DataError):
    """A TFRecord file that is damaged.

    Attributes:
        offset: where the damaged record begins.
        record: its number; both count from 0.
        next_offset: where the next one begins, or None where that cannot be known.
    """

    def __init__(
        self, message: str, *, offset: int, record: int, next_offset: int | None = None
    ) -> None:
        super().__init__(message)
        self.offset = offset
        self.record = record
        self.next_offset = next_offset


def masked_crc32c(data: bytes | memoryview) -> int:
    crc = _crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame(record: bytes) -> bytes:
    """The bytes of `record` in a TFRecord file."""
    length = _LENGTH.pack(len(record))
    length_crc = _crc32c(length)
    crc = _crc32c(record)
    return b"".join(
        (
            length,
            _CHECKSUM.pack(((length_crc >> 15 | length_crc << 17) + 0xA282EAD8) & 0xFFFFFFFF),
            record,
            _CHECKSUM.pack(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF),
        )
    )


def framed_size(record_bytes: int) -> int:
    return record_bytes + HEADER_BYTES + FOOTER_BYTES


class RecordWriter:
    """Writes records, framed or to be framed, to a binary file; knows offsets, size and checksum.

    GZIP comes out the same for the same records: no file name and no time in it.

    Attributes:
        lengths: framed size of every record so far, in bytes, before compression.
    """

    def __init__(self, file: IO[bytes], compression: str = "") -> None:
        check_compression(compression)
        self._sink = _Checksummed(file)
        self._gzip: gzip.GzipFile | None = None
        self._out: gzip.GzipFile | _Checksummed = self._sink
        if compression:
            self._gzip = gzip.GzipFile("", "wb", _GZIP_LEVEL, self._sink, mtime=0)  # type: ignore[arg-type]
            self._out = self._gzip
        self.lengths: list[int] = []

    def write(self, record: bytes) -> None:
        self.write_framed(frame(record))

    def write_framed(self, framed: bytes | memoryview) -> None:
        """Write one record that `frame` has framed."""
        self._out.write(framed)
        self.lengths.append(len(framed))

    def write_many(self, framed: Iterable[bytes | memoryview]) -> None:
        """Write framed records with one call of the file: many small records cost less so."""
        pieces = list(framed)
        self.write_block(b"".join(pieces), list(map(len, pieces)))

    def write_block(self, framed: bytes | memoryview, lengths: Sequence[int]) -> None:
        """Write framed records that are one after the other already; `lengths` are theirs, framed."""
        if sum(lengths) != len(framed):
            raise ValueError(f"{len(framed)} bytes of records with {sum(lengths)} bytes in all.")
        self._out.write(framed)
        self.lengths.extend(lengths)

    def finish(self) -> None:
        """End the compressed stream; the file itself stays open. To be called once."""
        if self._gzip:
            self._gzip.close()

    @property
    def offsets(self) -> np.ndarray:
        """uint64 [records + 1]: where each record begins, before compression, and the end."""
        offsets = np.zeros(len(self.lengths) + 1, np.uint64)
        np.cumsum(self.lengths, dtype=np.uint64, out=offsets[1:])
        return offsets

    @property
    def bytes_written(self) -> int:
        """Size of the file; with GZIP known after `finish`."""
        return self._sink.size

    @property
    def crc32c(self) -> int:
        """Of all bytes in the file (not masked); with GZIP known after `finish`."""
        return self._sink.crc


class _Checksummed(io.RawIOBase):
    """A file that only writes, and keeps the checksum of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.crc = 0
        self.size = 0

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]
        self._file.write(data)
        self.crc = google_crc32c.extend(self.crc, bytes(data))
        self.size += len(data)
        return len(data)

    def writable(self) -> bool:
        return True


def write_records(
    path: str | PathLike[str], records: Iterable[bytes], compression: str = ""
) -> RecordWriter:
    """Write a file of `records`, not atomically; returns the finished writer with its figures."""
    check_compression(compression)
    with open(path, "wb", buffering=_CHUNK_BYTES) as file:
        writer = RecordWriter(file, compression)
        for record in records:
            writer.write(record)
        writer.finish()
    return writer


def check_compression(compression: str) -> None:
    if compression not in COMPRESSIONS:
        raise DataError(f"`compression` is 'GZIP' or '' for none, got {compression!r}.")


def detect_compression(start: bytes) -> str:
    """ "GZIP" or "", from the first 12 bytes of a file.

    A record of 559,903 bytes begins with the bytes of a GZIP file; the checksum of its length tells.
    """
    if not start.startswith(_GZIP_MAGIC):
        return ""
    if len(start) < HEADER_BYTES:
        return "GZIP"
    length, crc = _HEADER.unpack_from(start)
    return "" if masked_crc32c(_LENGTH.pack(length)) == crc else "GZIP"


def compression_of(path: str | PathLike[str]) -> str:
    with open(path, "rb") as file:
        return detect_compression(file.read(HEADER_BYTES))


def scan(path: str | PathLike[str]) -> np.ndarray:
    """Find the records of a file: uint64 [records + 1], where each begins, and the end.

    Of a GZIP file these are offsets into what it unpacks to. Lengths are checked, records are not.

    Raises:
        RecordError: for a length that is damaged, or a file that ends within a record.
    """
    if compression_of(path):
        lengths = [framed_size(len(record)) for record in read_records(path)]
        offsets = np.zeros(len(lengths) + 1, np.uint64)
        np.cumsum(lengths, dtype=np.uint64, out=offsets[1:])
        return offsets
    with _mapped(path) as data:
        return scan_buffer(data, str(path))


def scan_buffer(data: memoryview | bytes | mmap.mmap, name: str) -> np.ndarray:
    """As `scan`, of a file's bytes; `name` is for messages."""
    size = len(data)
    offsets = [0]
    append, length_at = offsets.append, _LENGTH.unpack_from
    position, last = 0, size - HEADER_BYTES - FOOTER_BYTES
    while position <= last:
        position += length_at(data, position)[0] + 16  # HEADER_BYTES + FOOTER_BYTES, as a constant
        append(position)
    found = np.array(offsets, np.float64 if position > 1 << 63 else np.uint64)
    _check_lengths(data, found[:-1], size, name)
    if position != size:
        complete = len(offsets) - 1 - (position > size)
        raise RecordError(
            f"{name}: ends within record {complete}, {size - offsets[complete]} bytes after its start; "
            "the file is truncated.",
            offset=offsets[complete],
            record=complete,
        )
    return found


def _check_lengths(
    data: memoryview | bytes | mmap.mmap, starts: np.ndarray, size: int, name: str
) -> None:
    """Check the checksums of the lengths at `starts`, all at once."""
    if not len(starts):
        return
    octets = np.frombuffer(data, np.uint8)
    for begin in range(0, len(starts), 1 << 16):  # 64 Ki at a time, which stays in the cache
        at = starts[begin : begin + (1 << 16)].astype(np.int64)
        headers = octets[at[:, None] + np.arange(HEADER_BYTES)]
        crc = np.full(len(at), 0xFFFFFFFF, np.uint32)
        for column in range(8):
            crc = _TABLE[(crc ^ headers[:, column]) & 0xFF] ^ (crc >> np.uint32(8))
        crc ^= np.uint32(0xFFFFFFFF)
        masked = (crc >> np.uint32(15) | crc << np.uint32(17)) + np.uint32(0xA282EAD8)
        stored = np.ascontiguousarray(headers[:, 8:]).view("<u4")[:, 0]
        wrong = np.flatnonzero(masked != stored)
        if len(wrong):
            record = begin + int(wrong[0])
            offset = int(starts[record])
            del octets, headers  # views of a mapped file, which must be gone before it is closed
            raise RecordError(
                f"{name}: the length of record {record} at byte {offset} does not fit its checksum; "
                "the file is damaged, or no TFRecord file.",
                offset=offset,
                record=record,
            )


def _crc_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ (np.uint32(0x82F63B78) * (table & np.uint32(1)))
    return table


_TABLE = _crc_table()


@contextmanager
def _mapped(path: str | PathLike[str]) -> Iterator[memoryview]:
    with open(path, "rb") as file:
        if not file.seek(0, io.SEEK_END):
            yield memoryview(b"")  # an empty file cannot be mapped
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
            yield view


def read_records(path: str | PathLike[str]) -> Iterator[bytes]:
    """The records of a file in order, each checked; plain or GZIP.

    Raises:
        RecordError: at the first record that is damaged.
    """
    with io.BufferedReader(io.FileIO(path), _CHUNK_BYTES) as file:
        for _, record in walk(file, str(path)):
            if isinstance(record, RecordError):
                raise record
            yield record


def walk(file: io.BufferedReader[Any], name: str) -> Iterator[tuple[int, bytes | RecordError]]:
    """Yield (offset, record) of a file that is at its start, and an error for a damaged record.

    Goes on behind a record that is damaged; ends where the next one cannot be found. Offsets in a GZIP
    file are those in what it unpacks to. `name` is for messages.
    """
    if not detect_compression(file.peek(HEADER_BYTES)[:HEADER_BYTES]):
        yield from _walk(file, name)
        return
    with gzip.GzipFile(fileobj=file) as unpacked:
        yield from _walk(io.BufferedReader(unpacked, _CHUNK_BYTES), name)  # type: ignore[type-var]


def _walk(file: io.BufferedReader[Any], name: str) -> Iterator[tuple[int, bytes | RecordError]]:
    record = offset = 0
    while True:
        try:
            header = file.read(HEADER_BYTES)
            if not header:
                return
            value = read_one(header, file.read, name, offset=offset, record=record)
            yield offset, value
            offset += len(value) + HEADER_BYTES + FOOTER_BYTES
        except RecordError as error:
            yield offset, error
            if error.next_offset is None:
                return
            offset = error.next_offset
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            message = f"{name}: cannot be unpacked in or after record {record} ({error}); the file is damaged."
            yield offset, RecordError(message, offset=offset, record=record)
            return
        record += 1


def read_one(header: bytes, read, name: str, *, offset: int, record: int) -> bytes:
    """The record behind `header`; `read(n)` gives the next n bytes. Checks both checksums."""
    at = f"record {record} at byte {offset}"
    if len(header) < HEADER_BYTES:
        raise RecordError(
            f"{name}: ends within {at}; the file is truncated.", offset=offset, record=record
        )
    length, length_crc = _HEADER.unpack(header)
    if masked_crc32c(header[:8]) != length_crc:
        raise RecordError(
            f"{name}: the length of {at} does not fit its checksum; the file is damaged, or no "
            "TFRecord file.",
            offset=offset,
            record=record,
        )
    data = read(length + FOOTER_BYTES)
    if len(data) < length + FOOTER_BYTES:
        raise RecordError(
            f"{name}: ends within {at}; the file is truncated.", offset=offset, record=record
        )
    value = data[:length]
    if masked_crc32c(value) != _CHECKSUM.unpack_from(data, length)[0]:
        raise RecordError(
            f"{name}: {at} does not fit its checksum; the file is damaged.",
            offset=offset,
            record=record,
            next_offset=offset + framed_size(length),
        )
    return value


def read_at(file: IO[bytes], offset: int, name: str, record: int = -1) -> bytes:
    """The record that begins at `offset` of an open, uncompressed file, checked."""
    file.seek(offset)
    return read_one(file.read(HEADER_BYTES), file.read, name, offset=offset, record=record)
