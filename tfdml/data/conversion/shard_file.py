"""A shard while it is written: under a temporary name until it is whole, then in its place, with its index."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from tfdml.data.conversion.records import Tally
from tfdml.data.conversion.writeback import EarlyWriting
from tfdml.data.format.dataset_manifest import Shard
from tfdml.data.format.index import Index, as_labels, index_name
from tfdml.data.format.record_file import RecordWriter
from tfdml.storage import Storage

if TYPE_CHECKING:
    from tfdml.data.conversion.state import State

_BUFFER_BYTES = 1 << 20


class ShardFile:
    """Takes framed records in blocks. Used as a context manager: without `finish`, nothing stays."""

    def __init__(self, state: State, storage: Storage, name: str, compression: str) -> None:
        self._state = state
        self._storage = storage
        self._name = name
        self._compression = compression
        self._labels: list[np.ndarray] = []
        self._temporary = state.temporary(name)
        self._file = self._temporary.open("wb", buffering=_BUFFER_BYTES)
        self._writer = RecordWriter(self._file, compression)
        self._early = EarlyWriting(self._file.fileno())

    def __enter__(self) -> ShardFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._file.close()
        except OSError:
            if error is None:
                raise  # a full disk may be noticed here for the first time
        finally:
            self._temporary.unlink(missing_ok=True)

    def write(
        self, framed: bytes, lengths: Sequence[int], labels: Sequence[int] | np.ndarray
    ) -> None:
        """Framed records that are one after the other, the framed size of each, and their labels."""
        self._writer.write_block(framed, lengths)
        self._early.reached(self._writer.bytes_written)
        self._labels.append(as_labels(labels))

    def finish(self, tally: Tally, *, labels: bool) -> Shard:
        """Put the shard and its index into their place, and remember that they are there."""
        self._writer.finish()
        self._file.close()
        writer = self._writer
        index = Index(
            writer.offsets,
            writer.bytes_written,
            np.concatenate(self._labels) if labels else None,
            is_gzip=bool(self._compression),
        )
        shard = Shard(self._name, len(index), writer.bytes_written, writer.crc32c)
        self._storage.publish(self._temporary, self._name)
        self._storage.write_bytes(index_name(self._name), index.to_bytes())
        self._state.write_receipt(shard, tally)
        return shard
