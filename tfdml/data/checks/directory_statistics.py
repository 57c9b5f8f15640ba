"""Statistics of a directory's splits: out of the manifest, or computed from all records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tfdml.data.conversion.pool import Pool
from tfdml.data.format.dataset_directory import DatasetDirectory
from tfdml.data.format.example import decode
from tfdml.data.format.features import Schema
from tfdml.data.format.statistics import RowStatistics, SplitStatistics
from tfdml.errors import DataError


@dataclass(frozen=True)
class _Job:
    directory: DatasetDirectory
    schema: Schema
    guessed: bool


def stored_statistics(
    directory: DatasetDirectory, split: str | None = None
) -> dict[str, SplitStatistics] | None:
    """Those of the manifest; None where there is none, or it has no statistics of a split.

    Raises:
        DataError: for an unknown split.
    """
    splits = dict.fromkeys(s for s, _ in directory.shards(split))
    manifest = directory.manifest
    if not manifest or any(s not in manifest.statistics for s in splits):
        return None
    return {
        s: SplitStatistics(
            manifest.num_records(s), manifest.statistics[s], manifest.label_histogram.get(s, {})
        )
        for s in splits
    }


def compute_statistics(
    directory: DatasetDirectory,
    schema: Schema,
    split: str | None = None,
    *,
    guessed: bool = False,
    num_processes: int = 1,
    on_progress: Callable[[int, int], None] = lambda rows, num_bytes: None,
) -> dict[str, SplitStatistics]:
    """Read and decode every record of one split or of all.

    Args:
        guessed: whether the schema is a guess, for the message about a record that does not fit it.

    Raises:
        DataError: for an unknown split, a shard that is missing or damaged, or a record that does not
            fit the schema.
    """
    tasks = directory.shards(split)
    found = {}
    with Pool(num_processes) as pool:
        job = _Job(directory, schema, guessed)
        for task, statistics in pool.run(_shard_statistics, job, tasks, on_progress):
            found[task] = statistics
    merged: dict[str, SplitStatistics] = {}
    for task in tasks:  # in this order, whichever shard was finished first
        merged[task[0]] = merged.get(task[0], SplitStatistics()).merge(found[task])
    return merged


def _shard_statistics(job: _Job, task: tuple[str, str], progress) -> SplitStatistics:
    statistics = RowStatistics(job.schema)
    file = task[1]
    for number, record in enumerate(job.directory.records(file)):
        try:
            statistics.add(decode(record, job.schema))
        except DataError as error:
            place = job.directory.storage.location(file)
            why = " Nothing describes the features, and the first records differ." * job.guessed
            raise DataError(f"{place}: record {number} cannot be decoded: {error}{why}") from None
        progress(1, len(record) + 16)
    return statistics.finish()
