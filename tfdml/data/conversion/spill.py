"""A spill file: the framed records of one fragment, grouped by where they will go.

    chunk after chunk, each cut at `chunk_bytes` so that memory is bounded; in a chunk, for each split,
        run 0, run 1, ...     run r holds the records at shuffled positions r, r + G, r + 2G, ...
            lengths uint32 [n], labels int32 [n] if there are labels, then the n framed records
        table                 uint64 [runs + 1]: where each run begins, and the end
    footer: a pickled `SpillSummary`; its offset and checksum; a magic number

G is the number of groups of the split. Records are shared out by position in the whole split: the gather
adds how many records of the split came before this chunk, so all groups have the same size within one.
"""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import google_crc32c
import numpy as np

from tfdml.data.conversion.framing import framed_block
from tfdml.data.conversion.records import Tally
from tfdml.data.conversion.shuffle import shuffled
from tfdml.data.format.record_file import framed_size

_MAGIC = b"TFDMLSPL"
_TRAILER = struct.Struct("<QI8s")
BLOCK_BYTES = 1 << 20  # framed, joined and written at once; small enough to stay in the cache
_FOR_CHUNK = 1  # what a shuffle's key is for


@dataclass(frozen=True)
class ChunkPart:
    """The records of one split in one chunk.

    Attributes:
        table: where its table of runs is in the file.
        frame_bytes: size of the framed records alone.
    """

    split: str
    records: int
    table: int
    frame_bytes: int


@dataclass
class SpillSummary:
    """What a finished fragment is known by."""

    parts: list[ChunkPart] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)


class SpillWriter:
    """Takes records in the order of the input, and writes a chunk whenever one is full.

    Args:
        groups: split -> number of groups its records are shared out to.
        key: numbers that make the shuffle of this fragment its own (seed, fragment); None keeps the order.
    """

    def __init__(
        self,
        path: Path,
        groups: Mapping[str, int],
        *,
        chunk_bytes: int,
        labels: bool,
        key: tuple[int, int] | None,
    ) -> None:
        self._groups = groups
        self._chunk_bytes = chunk_bytes
        self._has_labels = labels
        self._key = key
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        self._at = 0
        self._chunk = 0
        self._bytes = 0
        self._records: dict[str, list[bytes]] = {split: [] for split in groups}
        self._labels: dict[str, list[int]] = {split: [] for split in groups}
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self.summary = SpillSummary()

    def add(self, split: str, record: bytes, label: int = 0) -> None:
        self._records[split].append(record)
        if self._has_labels:
            self._labels[split].append(label)
        self._bytes += len(record)
        if self._bytes >= self._chunk_bytes:
            self._flush()

    def finish(self) -> SpillSummary:
        """Write what is left, and the footer; the file is whole then."""
        self._flush()
        footer = pickle.dumps(self.summary, protocol=5)
        self._put(footer)
        self._put(_TRAILER.pack(self._at - len(footer), google_crc32c.value(footer), _MAGIC))
        self._write_pending()
        self.close()
        return self.summary

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _flush(self) -> None:
        for number, (split, records) in enumerate(self._records.items()):
            if records:
                self._write_part(number, split, records, self._labels[split])
                self._records[split] = []
                self._labels[split] = []
        self._write_pending()
        self._chunk += 1
        self._bytes = 0

    def _write_part(self, number: int, split: str, records: list[bytes], labels: list[int]) -> None:
        count, groups = len(records), self._groups[split]
        order = np.arange(count)
        positions = np.argsort(order % groups, kind="stable") if groups < count else order
        if self._key is not None:
            order = shuffled(count, *self._key, _FOR_CHUNK, self._chunk, number)
        order = order[positions]
        in_order = [records[i] for i in order.tolist()]
        sizes = np.fromiter(map(len, in_order), np.int64, count)
        sorted_labels = np.array(labels, "<i4")[order] if self._has_labels else None
        runs = min(groups, count)
        table = np.empty(runs + 1, "<u8")
        begin = frame_bytes = 0
        for run in range(runs):
            table[run] = self._at
            end = begin + run_records(count, groups, run)
            self._put((sizes[begin:end] + framed_size(0)).astype("<u4").tobytes())
            if sorted_labels is not None:
                self._put(sorted_labels[begin:end].tobytes())
            for first, last in blocks(sizes[begin:end]):
                framed, _ = framed_block(in_order[begin + first : begin + last])
                self._put(framed)
                frame_bytes += len(framed)
            begin = end
        table[runs] = self._at
        part = ChunkPart(split, count, self._at, frame_bytes)
        self._put(table.tobytes())
        self.summary.parts.append(part)

    def _put(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_bytes += len(data)
        self._at += len(data)
        if self._pending_bytes >= BLOCK_BYTES:
            self._write_pending()

    def _write_pending(self) -> None:
        """What has gathered; small pieces go together, large ones as they are."""
        view = memoryview(self._pending[0] if len(self._pending) == 1 else b"".join(self._pending))
        while len(view):
            view = view[os.write(self._file, view) :]
        self._pending, self._pending_bytes = [], 0


def run_records(count: int, groups: int, run: int) -> int:
    """How many of `count` records are in a run of a part: those at run, run + groups, ..."""
    return max(0, (count - run + groups - 1) // groups)


def blocks(sizes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Cut records of so many bytes into blocks of about `BLOCK_BYTES`, each as (first, behind the last)."""
    ends = np.cumsum(sizes)
    first = begin = 0
    while first < len(ends):
        last = min(int(np.searchsorted(ends, begin + BLOCK_BYTES)) + 1, len(ends))
        yield first, last
        first, begin = last, int(ends[last - 1])


class SpillReader:
    """Reads runs of a finished spill file; thread-safe, because it never seeks."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._file)

    def run_bounds(self, part: ChunkPart, run: int) -> tuple[int, int]:
        """Where a run begins and ends in the file."""
        begin, end = struct.unpack("<QQ", os.pread(self._file, 16, part.table + 8 * run))
        return begin, end

    def read(self, offset: int, size: int) -> bytes:
        data = os.pread(self._file, size, offset)
        if len(data) < size:
            raise OSError(f"a spill file ends at byte {offset + len(data)}")
        return data

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` with the bytes from `offset` on."""
        while len(buffer):
            done = os.preadv(self._file, [buffer], offset)
            if not done:
                raise OSError(f"a spill file ends at byte {offset}")
            buffer, offset = buffer[done:], offset + done


def read_summary(path: Path) -> SpillSummary | None:
    """The footer of a spill file; None for one that is not whole."""
    try:
        with open(path, "rb") as file:
            file.seek(-_TRAILER.size, os.SEEK_END)
            end = file.tell()
            offset, crc, magic = _TRAILER.unpack(file.read(_TRAILER.size))
            if magic != _MAGIC or offset > end:
                return None
            file.seek(offset)
            footer = file.read(end - offset)
    except (OSError, struct.error):
        return None
    return pickle.loads(footer) if google_crc32c.value(footer) == crc else None
