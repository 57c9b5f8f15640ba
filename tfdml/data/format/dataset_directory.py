"""A directory of shards as it is found: with our manifest, with TFDS's side files, or with neither."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike

from tfdml.data.format import dataset_manifest, tfds_layout
from tfdml.data.format.dataset_manifest import DatasetManifest
from tfdml.data.format.features import Schema
from tfdml.data.format.record_file import RecordError, walk
from tfdml.data.format.shards import shards_by_split
from tfdml.data.format.tfds_layout import TfdsInfo
from tfdml.errors import DataError
from tfdml.storage import Storage, storage_for

_LOCAL_BUFFER = 1 << 20
_REMOTE_BUFFER = 8 << 20  # a request each


@dataclass(frozen=True)
class DatasetDirectory:
    """What lies in a directory, on this machine or behind a URL. Nothing is read but the side files.

    Attributes:
        files: names of all files.
        splits: split -> names of its shards, in order: as the manifest says, else as they are called.
        schema: the features, or None where nothing describes them.
        other_features: of TFDS, that a schema cannot hold: name -> description.
        manifest: None for a directory that `tfdml convert` did not write.
        tfds: what dataset_info.json says, where there is one.
    """

    storage: Storage
    files: frozenset[str]
    splits: Mapping[str, tuple[str, ...]]
    schema: Schema | None = None
    other_features: Mapping[str, str] = field(default_factory=dict)
    manifest: DatasetManifest | None = None
    tfds: TfdsInfo | None = None

    @classmethod
    def open(cls, url: str | PathLike[str], *, with_manifest: bool = True) -> DatasetDirectory:
        """
        Args:
            with_manifest: False opens it as if it had none.

        Raises:
            DataError: when there is no such directory, it has no shards, or a side file is damaged or
                of a newer version.
        """
        storage = storage_for(url)
        files = frozenset(storage.names())
        if with_manifest and dataset_manifest.FILE_NAME in files:
            manifest = DatasetManifest.from_bytes(
                storage.read_bytes(dataset_manifest.FILE_NAME),
                storage.location(dataset_manifest.FILE_NAME),
            )
            splits = {k: tuple(shard.file for shard in v) for k, v in manifest.splits.items()}
            return cls(storage, files, splits, manifest.schema, manifest=manifest)
        splits = {k: tuple(v) for k, v in shards_by_split(files).items()}
        if not splits:
            raise DataError(_nothing_here(storage, files))
        info = None
        if tfds_layout.INFO_FILE in files:
            place = storage.location(tfds_layout.INFO_FILE)
            info = tfds_layout.read_info(storage.read_bytes(tfds_layout.INFO_FILE), place)
        if tfds_layout.FEATURES_FILE not in files:
            return cls(storage, files, splits, tfds=info)
        schema, others = tfds_layout.read_features(
            storage.read_bytes(tfds_layout.FEATURES_FILE),
            lambda name: storage.read_bytes(name) if name in files else None,
            storage.location(tfds_layout.FEATURES_FILE),
        )
        return cls(storage, files, splits, schema, others, tfds=info)

    @property
    def name(self) -> str:
        """Of the data set; of the directory where nothing says it."""
        if self.manifest:
            return self.manifest.name
        if self.tfds and self.tfds.name:
            return self.tfds.name
        return self.storage.url.rstrip("/").rpartition("/")[2]

    def shards(self, split: str | None = None) -> list[tuple[str, str]]:
        """(split, file) of one split, or of all.

        Raises:
            DataError: for an unknown split.
        """
        if split is not None and split not in self.splits:
            raise DataError(
                f"{self.storage}: no split {split!r}; there are {', '.join(self.splits)}."
            )
        return [
            (s, file) for s, files in self.splits.items() if split in (None, s) for file in files
        ]

    def open_shard(self, file: str) -> io.BufferedReader:
        return open_file(self.storage, file)

    def records(self, file: str) -> Iterator[bytes]:
        """The records of a shard, checked.

        Raises:
            RecordError: at the first that is damaged.
        """
        with self.open_shard(file) as shard:
            for _, record in walk(shard, self.storage.location(file)):
                if isinstance(record, RecordError):
                    raise record
                yield record


def _nothing_here(storage: Storage, files: frozenset[str]) -> str:
    if storage.exists(".conversion/conversion.json"):
        return (
            f"{storage}: an unfinished conversion. Run the same tfdml convert again, which goes on "
            "where it ended."
        )
    if not files:
        return f"{storage}: no such directory, or an empty one. Write shards with tfdml convert."
    return (
        f"{storage}: no TFRecord shards; they are called NAME-SPLIT.tfrecord-00000-of-00004 or "
        "SPLIT-00000-of-00004.tfrecord."
    )


def open_file(storage: Storage, name: str) -> io.BufferedReader:
    """A file of a directory, for reading from its start to its end."""
    path = storage.local_path(name)
    if path is None:
        return io.BufferedReader(_RemoteFile(storage, name), _REMOTE_BUFFER)
    try:
        return io.BufferedReader(io.FileIO(path), _LOCAL_BUFFER)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{storage.location(name)}: {reason}.") from None


class _RemoteFile(io.RawIOBase):
    """A file that is read in ranges: no copy on this machine's disk."""

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self._name = name
        self._size = storage.size(name)  # object stores refuse a range behind the end
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        wanted = memoryview(buffer)
        stop = min(self._position + len(wanted), self._size)
        if stop <= self._position:
            return 0
        data = self._storage.read_bytes(self._name, self._position, stop)
        wanted[: len(data)] = data
        self._position += len(data)
        return len(data)
