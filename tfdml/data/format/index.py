"""The index of a shard: where each record begins, and its label; read without reading the shard.

    bytes 0-7    "TFDMLIDX"
    bytes 8-11   version, 1 (uint32)            all numbers are little-endian
    bytes 12-15  flags (uint32): 1 has labels; 2 the shard is GZIP
    bytes 16-23  n, the number of records (uint64)
    bytes 24-31  size of the shard in bytes (uint64)
    bytes 32-63  zero
    then         offsets, uint64 [n + 1]; the last is the end of the last record
    then         labels, int32 [n], if it has them
    then         CRC-32C of all before, not masked (uint32)

The offsets are those of framed records; of a GZIP shard, offsets into what it unpacks to.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import google_crc32c
import numpy as np

from tfdml.data.format.record_file import compression_of, scan
from tfdml.errors import DataError
from tfdml.shared_files import appears_when_whole

DIRECTORY = "index"
SUFFIX = ".idx"
HAS_LABELS, IS_GZIP = 1, 2

_MAGIC = b"TFDMLIDX"
_VERSION = 1
_HEADER = struct.Struct("<8sIIQQ32x")
_CHECKSUM = struct.Struct("<I")


def index_name(shard: str) -> str:
    """Path of a shard's index relative to the data set's directory."""
    return f"{DIRECTORY}/{shard}{SUFFIX}"


def index_path(shard: str | PathLike[str]) -> Path:
    """`<dir>/index/<shard>.idx` for `<dir>/<shard>`."""
    shard = Path(shard)
    return shard.parent / index_name(shard.name)


@dataclass(frozen=True, eq=False)
class Index:
    """Where the records of one shard are.

    Attributes:
        offsets: uint64 [n + 1].
        shard_bytes: size of the shard's file.
        labels: int32 [n], or None.
        is_gzip: whether `offsets` are those of the unpacked shard.
    """

    offsets: np.ndarray
    shard_bytes: int
    labels: np.ndarray | None = None
    is_gzip: bool = False

    def __post_init__(self) -> None:
        if len(self.offsets) == 0:
            raise DataError("An index has an offset more than records, got no offset.")
        if self.labels is not None and len(self.labels) != len(self):
            raise DataError(f"The index has {len(self)} records, but {len(self.labels)} labels.")
        if not self.is_gzip and int(self.offsets[-1]) != self.shard_bytes:
            raise DataError(
                f"The last offset is {int(self.offsets[-1])}, the size of the shard {self.shard_bytes}."
            )

    def __len__(self) -> int:
        """Number of records."""
        return len(self.offsets) - 1

    def to_bytes(self) -> bytes:
        flags = HAS_LABELS * (self.labels is not None) | IS_GZIP * self.is_gzip
        parts = [
            _HEADER.pack(_MAGIC, _VERSION, flags, len(self), self.shard_bytes),
            np.ascontiguousarray(self.offsets, "<u8").tobytes(),
        ]
        if self.labels is not None:
            parts.append(as_labels(self.labels).tobytes())
        body = b"".join(parts)
        return body + _CHECKSUM.pack(google_crc32c.value(body))

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "index") -> Index:
        """The index in `data`; its arrays are views of it. `name` is for messages.

        Raises:
            DataError: for what is no index, is damaged, or of a newer version.
        """
        if len(data) < _HEADER.size or not data.startswith(_MAGIC):
            raise DataError(
                f"{name}: no index of a shard. Delete it; it is made again when needed."
            )
        _, version, flags, records, shard_bytes = _HEADER.unpack_from(data)
        if version != _VERSION:
            raise DataError(
                f"{name}: an index of version {version}, this tfdml reads version {_VERSION}. "
                "Use a newer tfdml."
            )
        labels_at = _HEADER.size + 8 * (records + 1)
        end = labels_at + 4 * records * bool(flags & HAS_LABELS)
        if len(data) != end + _CHECKSUM.size or _CHECKSUM.unpack_from(data, end)[
            0
        ] != google_crc32c.value(data[:end]):
            raise DataError(f"{name}: damaged. Delete it; it is made again when needed.")
        offsets = np.frombuffer(data, "<u8", records + 1, _HEADER.size)
        labels = np.frombuffer(data, "<i4", records, labels_at) if flags & HAS_LABELS else None
        return cls(offsets, shard_bytes, labels, bool(flags & IS_GZIP))

    def write(self, path: str | PathLike[str]) -> None:
        """Write it to `path`, whole or not at all."""
        with appears_when_whole(path) as temporary:
            temporary.write_bytes(self.to_bytes())

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Index:
        return cls.from_bytes(Path(path).read_bytes(), str(path))

    @classmethod
    def scanned(
        cls, shard: str | PathLike[str], label: Callable[[bytes], int] | None = None
    ) -> Index:
        """The index of a shard without one, by reading the lengths of its records.

        Args:
            label: the label of a record; then records are read, and the index gets labels.
        """
        shard = Path(shard)
        labels = None
        if label:
            from tfdml.data.format.record_file import read_records

            labels = as_labels([label(record) for record in read_records(shard)])
        return cls(scan(shard), shard.stat().st_size, labels, bool(compression_of(shard)))

    @classmethod
    def of_shard(cls, shard: str | PathLike[str]) -> Index:
        """A shard's index: the one beside it, or one made by scanning where there is none.

        Raises:
            DataError: for an index that does not fit the size of the shard.
        """
        path = index_path(shard)
        if not path.exists():
            return cls.scanned(shard)
        index = cls.read(path)
        size = Path(shard).stat().st_size
        if index.shard_bytes != size:
            raise DataError(
                f"{path}: does not fit its shard, which has {size} bytes and should have "
                f"{index.shard_bytes}. Was the shard replaced or cut short? See tfdml verify."
            )
        return index


def as_labels(labels) -> np.ndarray:
    """int32 [n] for an index; ids of 2^31 and more are no labels to balance classes by."""
    wide = np.asarray(labels, np.int64)
    if len(wide) and not (wide.min() >= -(2**31) and wide.max() < 2**31):
        raise DataError(
            f"Labels must fit into 32 bits, got {wide.min()} to {wide.max()}. "
            "Store such numbers as a tensor of int64."
        )
    return wide.astype("<i4")
