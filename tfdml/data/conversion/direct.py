"""Shards straight from the input, without spill files: where the order is kept and the rows are counted before.

Shard s of S holds the rows [n s / S, n (s + 1) / S) of the input, which is what the gather makes of records that
are not shuffled; so both ways give the same shards. A fragment that two shards share is read twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import TYPE_CHECKING

from tfdml.data.conversion.bad_rows import BadRows
from tfdml.data.conversion.framing import framed_block
from tfdml.data.conversion.records import Reading, Recipe, Tally
from tfdml.data.conversion.request import Conversion
from tfdml.data.conversion.shard_file import ShardFile
from tfdml.data.conversion.spill import BLOCK_BYTES
from tfdml.data.format.dataset_manifest import Shard
from tfdml.data.format.shards import shard_name
from tfdml.data.inputs.input import BadRow, Fragment, Row
from tfdml.storage import Storage

if TYPE_CHECKING:
    from tfdml.data.conversion.pool import Report
    from tfdml.data.conversion.state import State


@dataclass(frozen=True)
class DirectJob:
    reading: Reading
    recipe: Recipe
    compression: str
    state: State
    storage: Storage


@dataclass(frozen=True)
class DirectTask:
    """A shard, and the rows that it is made of: of each fragment those in [first, last)."""

    split: str
    file: str
    pieces: tuple[tuple[Fragment, int, int], ...]


def rows_known(request: Conversion, fragments: Sequence[Fragment]) -> list[int] | None:
    """The number of rows of each fragment, where that is enough to cut shards; else None.

    It is not where rows go to several splits, or a stage makes another number of rows; nor where bad rows may be
    left out, because then the shards would differ in size.
    """
    count = getattr(request.input, "fragment_rows", None)
    one_split = len(request.split_parts()) == 1
    same_rows = all(getattr(stage, "keeps_rows", True) for stage in request.stages)
    if request.shuffle or count is None or not one_split or not same_rows:
        return None
    return [count(fragment) for fragment in fragments] if request.on_error == "fail" else None


def direct_tasks(
    request: Conversion, fragments: Sequence[Fragment], counts: Sequence[int], num_shards: int
) -> list[DirectTask]:
    (split,) = request.split_parts()
    starts = list(accumulate(counts, initial=0))
    tasks = []
    for shard in range(num_shards):
        first, last = (starts[-1] * end // num_shards for end in (shard, shard + 1))
        pieces = tuple(
            (fragment, max(first - start, 0), min(last - start, count))
            for fragment, start, count in zip(fragments, starts, counts, strict=False)
            if start < last and first < start + count
        )
        tasks.append(DirectTask(split, shard_name(request.name, split, shard, num_shards), pieces))
    return tasks


def write_directly(job: DirectJob, task: DirectTask, report: Report) -> tuple[Shard, Tally]:
    """Write a shard and its index; both are in their place when this returns.

    Raises:
        RowError: for a row that cannot be used.
    """
    bad = BadRows("fail", job.state, 0)
    tally = Tally()
    with ShardFile(job.state, job.storage, task.file, job.compression) as shard:
        block: list[bytes] = []
        labels: list[int] = []
        size = 0
        rows = _rows(job.reading, task)
        for _, record, label in job.recipe.records(rows, bad, tally, report):
            block.append(record)
            labels.append(label)
            size += len(record)
            if size >= BLOCK_BYTES:
                shard.write(*framed_block(block), labels)
                report(0, size)
                block, labels, size = [], [], 0
        shard.write(*framed_block(block), labels)
        report(0, size)
        return shard.finish(tally, labels=bool(job.recipe.label)), tally


def _rows(reading: Reading, task: DirectTask) -> Iterator[Row | BadRow]:
    for fragment, first, last in task.pieces:
        yield from islice(reading.rows(fragment), first, last)
