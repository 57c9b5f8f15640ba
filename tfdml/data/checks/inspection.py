"""What a directory of shards holds: features, splits, how evenly its shards are filled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tfdml.data.format.dataset_directory import DatasetDirectory
from tfdml.data.format.example import decode
from tfdml.data.format.features import Schema
from tfdml.data.format.guess_schema import guess_schema
from tfdml.data.format.index import Index, index_name
from tfdml.data.format.record_file import HEADER_BYTES, detect_compression, scan
from tfdml.data.format.shards import check_complete, shards_by_split
from tfdml.errors import DataError


@dataclass(frozen=True)
class SplitSummary:
    """One split.

    Attributes:
        records: of each shard; None where nobody says and counting means reading all of it.
        sizes: of each shard in bytes.
        problem: why the split is not whole, or "".
    """

    split: str
    records: tuple[int | None, ...]
    sizes: tuple[int, ...]
    problem: str = ""


def schema_of_directory(directory: DatasetDirectory) -> tuple[Schema, bool]:
    """The features, and whether they were guessed from the first records.

    Raises:
        DataError: when the directory does not say and the records are no Examples.
    """
    if directory.schema:
        return directory.schema, False
    files = [file for _, file in directory.shards() if file in directory.files]
    for file in files:
        for first in directory.records(file):
            return guess_schema(_again(first, directory.records(file))), True
    raise DataError(f"{directory.storage}: there is no record in {len(files)} shards.")


def _again(first: bytes, records: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from islice(records, 1, None)


def split_summaries(directory: DatasetDirectory, split: str | None = None) -> list[SplitSummary]:
    """One or all splits of the directory, in its order.

    Raises:
        DataError: for an unknown split, or a shard whose records cannot be counted.
    """
    by_split: dict[str, list[str]] = {}
    for of_split, file in directory.shards(split):
        by_split.setdefault(of_split, []).append(file)
    return [_summary(directory, of_split, files) for of_split, files in by_split.items()]


def _summary(directory: DatasetDirectory, split: str, files: list[str]) -> SplitSummary:
    there = [file for file in files if file in directory.files]
    missing = [file for file in files if file not in directory.files]
    problem = f"{len(missing)} of {len(files)} shards are missing" if missing else ""
    if not directory.manifest:
        try:
            check_complete("", split, shards_by_split(files)[split])
        except DataError as error:
            problem = str(error).removeprefix(": ").partition(". ")[0]
    records: tuple[int | None, ...]
    if directory.manifest:
        known = {shard.file: shard.records for shard in directory.manifest.splits[split]}
        records = tuple(known[file] for file in there)
    else:
        records = tuple(_count(directory, split, i, file) for i, file in enumerate(there))
    sizes = tuple(directory.storage.size(file) for file in there)
    return SplitSummary(split, records, sizes, problem)


def _count(directory: DatasetDirectory, split: str, number: int, file: str) -> int | None:
    if directory.tfds:
        lengths = directory.tfds.shard_records.get(split, ())
        if number < len(lengths):
            return lengths[number]
    if index_name(file) in directory.files:
        name = index_name(file)
        return len(Index.from_bytes(directory.storage.read_bytes(name), name))
    path = directory.storage.local_path(file)
    if path is None or detect_compression(directory.storage.read_bytes(file, 0, HEADER_BYTES)):
        return None
    return len(scan(path)) - 1


def compression_of_directory(directory: DatasetDirectory) -> str:
    """ "GZIP" or "": as the manifest says, else as the first shard is."""
    if directory.manifest:
        return directory.manifest.compression
    _, file = directory.shards()[0]
    return detect_compression(directory.storage.read_bytes(file, 0, HEADER_BYTES))


def first_records(
    directory: DatasetDirectory, schema: Schema, split: str, count: int
) -> Iterator[dict[str, Any]]:
    """Values of the first records of a split, shard by shard.

    Raises:
        DataError: for an unknown split, a damaged record, or one that does not fit the schema.
    """
    left = count
    for _, file in directory.shards(split):
        for number, record in enumerate(islice(directory.records(file), left)):
            try:
                yield decode(record, schema)
            except DataError as error:
                place = directory.storage.location(file)
                raise DataError(f"{place}: record {number} cannot be decoded: {error}") from None
            left -= 1
        if not left:
            return
