"""A small data set of plain records, in any directory that a Storage can write."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tfdml.data.format.dataset_manifest import FILE_NAME, DatasetManifest, Shard
from tfdml.data.format.features import Feature
from tfdml.data.format.index import Index, index_name
from tfdml.data.format.record_file import write_records
from tfdml.data.format.shards import shard_name
from tfdml.storage import Storage


def records_of(shard: int, num_records: int) -> list[bytes]:
    """Of different lengths, and no two alike."""
    return [f"{shard}/{i} ".encode() * (1 + (7 * i + shard) % 30) for i in range(num_records)]


def write_set(
    storage: Storage,
    num_shards: int = 4,
    num_records: int = 10,
    *,
    manifest: bool = True,
    indexes: bool = True,
    compression: str = "",
) -> list[bytes]:
    """Write the split "train"; returns all its records by number."""
    shards, everything = [], []
    with tempfile.TemporaryDirectory() as directory:
        for number in range(num_shards):
            name = shard_name("set", "train", number, num_shards)
            records = records_of(number, num_records + number % 2)
            writer = write_records(Path(directory) / name, records, compression)
            index = Index(writer.offsets, writer.bytes_written, is_gzip=bool(compression))
            storage.publish(Path(directory) / name, name)
            if indexes:
                storage.write_bytes(index_name(name), index.to_bytes())
            shards.append(Shard(name, len(records), writer.bytes_written, writer.crc32c))
            everything += records
    if manifest:
        schema = {"text": Feature("text")}
        made = DatasetManifest("set", schema, {"train": tuple(shards)}, compression)
        storage.write_bytes(FILE_NAME, made.to_bytes())
    return everything
