"""A split's records by number: which shard holds record i, and reading a batch of them by their offsets.

Offsets come from the index of each shard; one that is missing is made by scanning the shard once, and kept. Importing
this module does not import TensorFlow; `RecordSet.read` does.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfdml.data import unpacked
from tfdml.data.format import index as index_file
from tfdml.data.format.record_file import compression_of, read_at
from tfdml.data.format.shards import find_shards
from tfdml.data.order import AnyOrder, first_ids_of
from tfdml.errors import DataError
from tfdml.storage import is_remote

if TYPE_CHECKING:
    import tensorflow as tf

    from tfdml.data.remote.shard_cache import ShardCache
    from tfdml.data.remote.staging import StagedShards

_HEADER = struct.Struct("<8sIIQQ32x")


@dataclass(frozen=True)
class Shard:
    """One file of records, and where they are in it.

    Attributes:
        path: an uncompressed TFRecord file, as TensorFlow's file systems open it.
        index: its index file, on this machine.
        num_records: at least 0.
        version: changes when the file's content does; files that are open are told apart by it.
    """

    path: str
    index: str
    num_records: int
    version: str

    @classmethod
    def of_file(cls, path: str | PathLike[str]) -> Shard:
        """A local shard, whose index is read or made; a GZIP shard is unpacked into the cache directory.

        Raises:
            DataError: the file is missing, damaged, or does not fit its index.
        """
        path = Path(path).absolute()
        try:
            packed = compression_of(path)
            status = path.stat()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from None
        if packed:
            path = unpacked.unpacked_copy(path)
            status = path.stat()
        index, num_records = unpacked.index_of(path)
        return cls(str(path), str(index), num_records, f"{status.st_size}-{status.st_mtime_ns}")

    def offsets(self) -> np.ndarray:
        """uint64 [num_records + 1], mapped from the index file."""
        return _offsets(self.index, self.num_records)

    def check_size(self, num_bytes: int) -> None:
        """Raises DataError unless the file still has the size that the index is for."""
        expected = int(self.offsets()[-1])
        if num_bytes != expected:
            raise DataError(
                f"{self.path}: has {num_bytes} bytes, its index is for {expected}. Was the shard replaced or cut "
                "short? See tfdml verify."
            )

    def labels(self) -> np.ndarray | None:
        """int32 [num_records], or None where the index has none."""
        return index_file.Index.read(self.index).labels


@dataclass(frozen=True, eq=False)
class RecordSet:
    """Shards, whose records are numbered one after another.

    Args:
        shards: in the order that gives the numbers.
        staged: brings shards of a remote set to their paths in time; None where all are there.
    """

    shards: tuple[Shard, ...]
    staged: StagedShards | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.num_records == 0:
            raise DataError(f"no record in {len(self.shards)} shards. Check how they were written.")

    @classmethod
    def open(
        cls, directory: str | PathLike[str], split: str, cache: ShardCache | None = None
    ) -> RecordSet:
        """The shards of one split in `directory`, of either naming convention.

        Args:
            directory: on this machine, or a URL; from there shards are fetched when they are needed.
            cache: where shards of a URL are kept for a while; default as remote_split.py says.

        Raises:
            DataError: there are none, one is missing or does not fit its index.
        """
        if is_remote(str(directory)):
            from tfdml.data.remote.remote_split import open_split

            return open_split(str(directory), split, cache)
        return cls.of_files(find_shards(Path(directory), split))

    @classmethod
    def of_files(cls, paths: Sequence[str | PathLike[str]]) -> RecordSet:
        """TFRecord files, with or without index files.

        Raises:
            DataError: one is missing, damaged or does not fit its index.
        """
        return cls(tuple(Shard.of_file(path) for path in paths))

    @property
    def num_records(self) -> int:
        return sum(shard.num_records for shard in self.shards)

    @functools.cached_property
    def shard_sizes(self) -> tuple[int, ...]:
        """Records in each shard."""
        return tuple(shard.num_records for shard in self.shards)

    @functools.cached_property
    def first_ids(self) -> np.ndarray:
        """int64 [shards + 1]: the number of each shard's first record, and of all records."""
        return first_ids_of(self.shard_sizes)

    def labels(self) -> np.ndarray | None:
        """int32 [num_records] out of the index files, or None where one of them has none."""
        labels = [shard.labels() for shard in self.shards]
        return None if any(part is None for part in labels) else np.concatenate(labels)  # type: ignore[arg-type]

    def locate(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(shard numbers, record numbers in them), int64 [n] each, of the records `ids`."""
        ids = np.asarray(ids, np.int64)
        shards = np.searchsorted(self.first_ids, ids, side="right") - 1
        return shards, ids - self.first_ids[shards]

    def __add__(self, other: RecordSet) -> RecordSet:
        """Both, one after the other: the records of `other` get the numbers from num_records on."""
        if self.staged is None and other.staged is None:
            return RecordSet(self.shards + other.shards)
        from tfdml.data.remote.staging import put_together

        parts = (self.staged, len(self.shards), other.staged, len(other.shards))
        return RecordSet(self.shards + other.shards, put_together(*parts))

    def in_order(self, order: AnyOrder) -> RecordSet:
        """The same records; shards of a remote set are fetched ahead as `order` will need them."""
        return self if self.staged is None else replace(self, staged=self.staged.in_order(order))

    def read(self, ids: tf.Tensor, epoch: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """In a graph: int64 [n] -> string [n], the serialised records in the order of `ids`, checked.

        `epoch` and `step` (int64 scalars) say whose batch it is, for the staging of what comes next.
        Errors at run time name the shard and the record; `read_errors.data_errors` makes a DataError of them.
        """
        from tfdml.data import record_reading

        return record_reading.read(self, ids, epoch, step)

    def read_now(self, ids: Sequence[int] | np.ndarray) -> list[bytes]:
        """The records `ids`, without TensorFlow.

        Raises:
            DataError: a record is damaged, or there is none of that number.
        """
        ids = np.asarray(ids, np.int64)
        outside = (ids < 0) | (ids >= self.num_records)
        if outside.any():
            raise DataError(
                f"there is no record {ids[outside][0]}: they are numbered 0 to {self.num_records - 1}."
            )
        shards, numbers = self.locate(ids)
        records: list[bytes] = [b""] * len(ids)
        for shard_number in np.unique(shards):
            shard = self.shards[shard_number]
            offsets = shard.offsets()
            try:
                with open(shard.path, "rb") as file:
                    shard.check_size(os.fstat(file.fileno()).st_size)
                    for place in np.flatnonzero(shards == shard_number):
                        number = int(numbers[place])
                        offset = int(offsets[number])
                        records[place] = read_at(file, offset, shard.path, number)
            except OSError as error:
                raise DataError(
                    f"{shard.path}: cannot be read ({error.strerror or error})."
                ) from None
        return records


@functools.lru_cache(maxsize=1024)
def _offsets(index: str, num_records: int) -> np.ndarray:
    return np.memmap(index, "<u8", "r", offset=_HEADER.size, shape=(num_records + 1,))
