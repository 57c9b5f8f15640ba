"""TFRecord shards: their names, writing them whole, and dividing them among input pipelines.

Importing this module does not import TensorFlow; writing and reading do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tfdml.errors import DataError
from tfdml.shared_files import appears_when_whole

if TYPE_CHECKING:
    import tensorflow as tf

_NAME = re.compile(r"(?P<name>.+)-(?P<split>[^-]+)\.tfrecord-(?P<index>\d{5})-of-(?P<count>\d{5})")

# Shards are read side by side, in a pattern that is the same on every machine: left to itself,
# tf.data takes the number from the CPU count, and two hosts would see two orders.
_SHARDS_READ_AT_ONCE = 16


def shard_name(name: str, split: str, index: int, count: int) -> str:
    """`digits-train.tfrecord-00000-of-00004`, the naming of TensorFlow Datasets."""
    return f"{name}-{split}.tfrecord-{index:05d}-of-{count:05d}"


def write_shards(
    directory: Path, name: str, split: str, records: Iterable[bytes], num_shards: int
) -> list[int]:
    """Deal `records` out to `num_shards` files in turn, so that their sizes differ by one at most.

    A shard appears under its name only when all are whole.

    Returns:
        The number of records in each shard.
    """
    import tensorflow as tf

    lengths = [0] * num_shards
    with ExitStack() as whole:
        paths = [directory / shard_name(name, split, i, num_shards) for i in range(num_shards)]
        temporary = [whole.enter_context(appears_when_whole(path)) for path in paths]
        with ExitStack() as open_files:
            writers = [
                open_files.enter_context(tf.io.TFRecordWriter(str(path))) for path in temporary
            ]
            for number, record in enumerate(records):
                writers[number % num_shards].write(record)
                lengths[number % num_shards] += 1
    return lengths


def find_shards(directory: Path, split: str) -> list[Path]:
    """The shards of one split, in order.

    Raises:
        DataError: when there is no such directory, no such split, or a shard is missing.
    """
    if not directory.is_dir():
        raise DataError(f"{directory}: no such directory of TFRecord shards.")
    found: dict[str, list[tuple[int, int, Path]]] = {}
    for path in sorted(directory.iterdir()):
        if match := _NAME.fullmatch(path.name):
            shard = (int(match["index"]), int(match["count"]), path)
            found.setdefault(match["split"], []).append(shard)
    if split not in found:
        there = f"the splits {', '.join(found)}" if found else "no shards at all"
        raise DataError(
            f"{directory}: no shards of the split {split!r}, there are {there}; "
            f"they are named like {shard_name('NAME', split, 0, 16)}."
        )
    counts = {count for _, count, _ in found[split]}
    if len(counts) > 1:
        raise DataError(
            f"{directory}: the split {split!r} has shards of {len(counts)} conversions "
            f"(of {', '.join(map(str, sorted(counts)))}). Convert into an empty directory."
        )
    missing = sorted(set(range(*counts)) - {index for index, _, _ in found[split]})
    if missing:
        raise DataError(
            f"{directory}: the split {split!r} lacks {len(missing)} of {counts.pop()} shards, "
            f"the first is number {missing[0]:05d}. Convert again."
        )
    return [path for _, _, path in found[split]]


def part_of(
    num_files: int, num_pipelines: int, pipeline_index: int
) -> tuple[range, tuple[int, int] | None]:
    """What one of several input pipelines reads, so that together they read every record once.

    Returns:
        The indices of its files, and None; or all files and (num_pipelines, pipeline_index), which
        means every num_pipelines-th record, when there are fewer files than pipelines.
    """
    if not 0 <= pipeline_index < num_pipelines:
        raise DataError(f"`pipeline_index` must be in [0, {num_pipelines}), got {pipeline_index}.")
    if num_files >= num_pipelines:
        return range(pipeline_index, num_files, num_pipelines), None
    return range(num_files), (num_pipelines, pipeline_index)


def read_records(
    files: Sequence[Path], *, num_pipelines: int = 1, pipeline_index: int = 0
) -> tf.data.Dataset:
    """Serialised records (string scalars) of one input pipeline, always in the same order."""
    import tensorflow as tf

    indices, every = part_of(len(files), num_pipelines, pipeline_index)
    names = [str(files[i]) for i in indices]
    records = tf.data.Dataset.from_tensor_slices(names).interleave(
        tf.data.TFRecordDataset,
        cycle_length=min(_SHARDS_READ_AT_ONCE, len(names)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return records.shard(*every) if every else records
