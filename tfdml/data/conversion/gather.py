"""The gather: one shard, from its groups of records out of all spill files, shuffled in memory, and its index."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdml.data.conversion.records import Tally
from tfdml.data.conversion.shard_file import ShardFile
from tfdml.data.conversion.shuffle import shuffled
from tfdml.data.conversion.spill import ChunkPart, SpillReader, blocks, run_records
from tfdml.data.format.dataset_manifest import Shard
from tfdml.storage import Storage

if TYPE_CHECKING:
    from tfdml.data.conversion.pool import Report
    from tfdml.data.conversion.state import State

_FOR_GROUP = 2  # what a shuffle's key is for
_OPEN_SPILLS = 256
_GROUP_MAY_GROW = 1.5  # rows are shared out before their sizes are known


@dataclass(frozen=True)
class Source:
    """A part of a spill file, with how many records of its split come before it."""

    fragment: int
    part: ChunkPart
    start: int


@dataclass(frozen=True)
class SplitJob:
    """How the records of a split become shards.

    Attributes:
        sources: all parts of the split, in order.
        groups: the number of groups that the map shared the records out to.
        seed: (seed, number of the split), or None to keep the order of the rows.
    """

    split: str
    num_shards: int
    groups: int
    records: int
    sources: tuple[Source, ...]
    seed: tuple[int, int] | None
    group_bytes: int
    labels: bool
    compression: str
    state: State
    storage: Storage


@dataclass(frozen=True)
class ShardTask:
    split: str
    number: int
    file: str


@dataclass(frozen=True)
class _Piece:
    """The records [first, last) of one run of a spill file."""

    source: Source
    run: int
    first: int
    last: int


def gather_shard(
    jobs: Mapping[str, SplitJob], task: ShardTask, report: Report
) -> tuple[Shard, Tally]:
    """Write a shard and its index; both are in their place when this returns."""
    job = jobs[task.split]
    spills = _Spills(job.state)
    buffer = bytearray()
    try:
        with ShardFile(job.state, job.storage, task.file, job.compression) as shard:
            for pieces, key in _windows(job, task.number):
                window = _Window(job, pieces, key, spills)
                if window.size <= _GROUP_MAY_GROW * job.group_bytes and len(buffer) < window.size:
                    buffer = bytearray(window.size)  # kept: fresh memory costs page faults
                for block, labels, size in window.blocks(memoryview(buffer)):
                    shard.write(b"".join(block), list(map(len, block)), labels)
                    report(len(block), size)
            tally = Tally()  # all is known since the map
            return shard.finish(tally, labels=job.labels), tally
    finally:
        spills.close()


def _windows(job: SplitJob, shard: int) -> Iterator[tuple[list[_Piece], tuple[int, ...] | None]]:
    """What is in memory at a time: pieces, and the key of the shuffle of their records, if there is one."""
    if job.seed is None:
        first = job.records * shard // job.num_shards
        last = job.records * (shard + 1) // job.num_shards
        for source in job.sources:
            begin = max(0, first - source.start)
            end = min(source.part.records, last - source.start)
            if begin < end:
                yield [_Piece(source, 0, begin, end)], None
        return
    for group in range(shard, min(job.groups, job.records), job.num_shards):
        pieces = []
        for source in job.sources:
            run = (group - source.start) % job.groups
            count = run_records(source.part.records, job.groups, run)
            if count:
                pieces.append(_Piece(source, run, 0, count))
        yield pieces, (*job.seed, _FOR_GROUP, group)


class _Window:
    """Records that are written together: where they are, and in which order they come.

    Attributes:
        size: of all framed records, in bytes.
    """

    def __init__(
        self,
        job: SplitJob,
        pieces: Sequence[_Piece],
        key: tuple[int, ...] | None,
        spills: _Spills,
    ) -> None:
        self._pieces = pieces
        self._spills = spills
        self._spans: list[
            tuple[int, int]
        ] = []  # of each piece: where its frames begin, and their size
        lengths, labels = [], []
        columns = 2 if job.labels else 1
        for piece in pieces:
            spill = spills.of(piece.source.fragment)
            count = run_records(piece.source.part.records, job.groups, piece.run)
            begin, _ = spill.run_bounds(piece.source.part, piece.run)
            header = np.frombuffer(spill.read(begin, 4 * columns * count), "<u4").reshape(
                columns, count
            )
            kept = header[0, piece.first : piece.last].astype(np.int64)
            before = int(header[0, : piece.first].sum(dtype=np.int64))
            self._spans.append((begin + header.nbytes + before, int(kept.sum())))
            lengths.append(kept)
            labels.append(header[-1, piece.first : piece.last].view("<i4"))
        self._lengths = np.concatenate(lengths)
        count = len(self._lengths)
        self._order = shuffled(count, *key) if key else np.arange(count)
        self.size = int(self._lengths.sum())
        self._labels = np.concatenate(labels)[self._order]

    def blocks(
        self, buffer: memoryview
    ) -> Iterator[tuple[list[memoryview] | list[bytes], np.ndarray, int]]:
        """Framed records, about `BLOCK_BYTES` at a time, with their labels and size.

        All are read first, if the buffer has room for them; else each is read by itself.
        """
        fits = len(buffer) >= self.size
        parts: Iterator[Any] = self._through(buffer) if fits else self._scattered()
        ends = np.cumsum(self._lengths[self._order])
        before = 0
        for first, last in blocks(self._lengths[self._order]):
            end = int(ends[last - 1])
            yield next(parts), self._labels[first:last], end - before
            before = end

    def _through(self, buffer: memoryview) -> Iterator[list[memoryview]]:
        at = 0
        for piece, (offset, size) in zip(self._pieces, self._spans, strict=True):
            self._spills.of(piece.source.fragment).read_into(buffer[at : at + size], offset)
            at += size
        ends = np.cumsum(self._lengths)
        begins = (ends - self._lengths)[self._order].tolist()
        ends = ends[self._order].tolist()
        for first, last in blocks(self._lengths[self._order]):
            bounds = zip(begins[first:last], ends[first:last], strict=True)
            yield [buffer[begin:end] for begin, end in bounds]

    def _scattered(self) -> Iterator[list[bytes]]:
        of_piece = np.repeat(
            np.arange(len(self._pieces)), [piece.last - piece.first for piece in self._pieces]
        )
        before = np.cumsum([0, *(size for _, size in self._spans)])[:-1]
        offsets = np.array([offset for offset, _ in self._spans])[of_piece]
        offsets += np.cumsum(self._lengths) - self._lengths - before[of_piece]
        for first, last in blocks(self._lengths[self._order]):
            block = []
            for i in self._order[first:last].tolist():
                spill = self._spills.of(self._pieces[of_piece[i]].source.fragment)
                block.append(spill.read(int(offsets[i]), int(self._lengths[i])))
            yield block


class _Spills:
    """Open spill files, the last used ones."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._open: OrderedDict[int, SpillReader] = OrderedDict()

    def of(self, fragment: int) -> SpillReader:
        if fragment in self._open:
            self._open.move_to_end(fragment)
        else:
            if len(self._open) >= _OPEN_SPILLS:
                self._open.popitem(last=False)[1].close()
            self._open[fragment] = SpillReader(self._state.spill(fragment))
        return self._open[fragment]

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()
