"""Reading records of a remote set: the shards of a batch are in the local cache while it is read.

A batch's shards are waited for and pinned, its records are read as those of local files, and the shards that
come next are fetched meanwhile. The records, and their order, are those of the same set on a local disk.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfdml.data.remote.fetch_ahead import AllAtOnce, FetchAhead, Windows
from tfdml.data.remote.shard_cache import CacheEntry, Pins, ShardCache
from tfdml.errors import ConfigError, DataError

if TYPE_CHECKING:
    import tensorflow as tf

_starting = threading.Lock()


@dataclasses.dataclass(frozen=True, eq=False)
class StagedShards:
    """The shards of a remote set, by number, and the cache through which they are read.

    Args:
        cache: holds at least a window of shards.
        entries: shard i of the record set; None for one that is on a local disk anyway.
        order: in which they are read; without one, any shard may be needed at any time.
        num_threads: that fetch ahead.
    """

    cache: ShardCache
    entries: Sequence[CacheEntry | None]
    order: Windows | None = None
    num_threads: int = 4
    _kept: dict[int, Pins] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def in_order(self, order: Any) -> StagedShards:
        """The same shards, fetched ahead in `order`, which may be any; one without `Windows` reads anywhere.

        Raises:
            ConfigError: what the order reads together does not fit into the cache.
        """
        windows: Windows = AllAtOnce(len(self.entries))
        if hasattr(order, "windows"):
            together = [len(window) for window in order.windows(0)]
            if sum(together) == len(self.entries) > max(together):
                windows = order
        check_limit(self.cache.limit_bytes, list(map(_bytes_of, self.entries)), windows)
        return dataclasses.replace(self, order=windows)

    def followed_by(self, other: StagedShards | None, num_shards: int) -> StagedShards:
        """The shards of this set and then those of another one, `num_shards`, which may be local (None).

        Raises:
            ConfigError: the other one has another cache.
        """
        if other is None:
            return dataclasses.replace(
                self, entries=(*self.entries, *[None] * num_shards), order=None
            )
        mine, its = self.cache, other.cache
        if (mine.directory, mine.limit_bytes) != (its.directory, its.limit_bytes):
            raise ConfigError(
                f"record sets that are put together share one shard cache, got {mine.directory} of "
                f"{mine.limit_bytes:,} bytes and {its.directory} of {its.limit_bytes:,} bytes. Use one for both."
            )
        return dataclasses.replace(self, entries=(*self.entries, *other.entries), order=None)

    def preceded_by(self, num_shards: int) -> StagedShards:
        """So many local shards, and then those of this set."""
        return dataclasses.replace(self, entries=(*[None] * num_shards, *self.entries), order=None)

    def read(
        self,
        ids: tf.Tensor,
        shards: tf.Tensor,
        epoch: tf.Tensor,
        step: tf.Tensor,
        read_local: Callable[[tf.Tensor], tf.Tensor],
    ) -> tf.Tensor:
        """In a graph: string [n], the records `ids` (int64 [n]) of `shards` (int64 [n]), by `read_local`."""
        import tensorflow as tf

        from tfdml.data.read_errors import MARK

        def read(ids, shards, epoch, step):
            try:
                return self.read_now(ids, shards.numpy(), int(epoch), int(step), read_local)
            except DataError as error:
                raise DataError(f"{MARK}{error}") from None

        records = tf.py_function(read, [ids, shards, epoch, step], tf.string)
        records.set_shape([ids.shape[0]])
        return records

    def read_now(
        self,
        ids: tf.Tensor,
        shards: np.ndarray,
        epoch: int,
        step: int,
        read_local: Callable[[tf.Tensor], tf.Tensor],
    ) -> tf.Tensor:
        """As `read`, at once."""
        import tensorflow as tf

        numbers = np.unique(shards)
        with self._ahead.at(epoch, step):
            if isinstance(self.order, AllAtOnce):
                self._keep(numbers)
                return read_local(ids)
            groups = self._groups(numbers)
            if len(groups) == 1:
                with self._use(groups[0]):
                    return read_local(ids)
            parts, places = [], []
            for group in groups:
                here = np.flatnonzero(np.isin(shards, group))
                with self._use(group):
                    parts.append(read_local(tf.gather(ids, here)))
                places.append(here)
        return tf.gather(tf.concat(parts, 0), np.argsort(np.concatenate(places)))

    def _use(self, shards: Iterable[int]) -> Pins:
        entries = (self.entries[shard] for shard in shards)
        return self.cache.use([entry for entry in entries if entry is not None])

    def _keep(self, shards: np.ndarray) -> None:
        """Pin these for good: all of them fit, and each batch needs many."""
        for shard in shards.tolist():
            if shard not in self._kept:
                pins = self._use([shard])
                if self._kept.setdefault(shard, pins) is not pins:
                    pins.close()  # another batch was faster

    def _groups(self, shards: np.ndarray) -> list[list[int]]:
        """Cut the shards of one batch into parts that the cache can hold: a batch may lie in several windows."""
        groups: list[list[int]] = [[]]
        free = self.cache.limit_bytes
        for shard in shards.tolist():
            num_bytes = _bytes_of(self.entries[shard])
            if num_bytes > free and groups[-1]:
                groups.append([])
                free = self.cache.limit_bytes
            free -= num_bytes
            groups[-1].append(shard)
        return groups

    @property
    def _ahead(self) -> FetchAhead:
        with _starting:  # batches are read at once, and cached_property alone may make two
            return self._only_ahead

    @functools.cached_property
    def _only_ahead(self) -> FetchAhead:
        order = self.order or AllAtOnce(len(self.entries))
        return FetchAhead(self.cache, self.entries, order, self.num_threads)


def put_together(
    first: StagedShards | None, num_first: int, second: StagedShards | None, num_second: int
) -> StagedShards | None:
    """What stages two record sets, one after the other, of which each may be local (None)."""
    if first is not None:
        return first.followed_by(second, num_second)
    return second.preceded_by(num_first) if second is not None else None


def _bytes_of(entry: CacheEntry | None) -> int:
    return entry.num_bytes if entry else 0


def check_limit(limit_bytes: int, shard_bytes: Sequence[int], order: Windows) -> None:
    """
    Raises:
        ConfigError: the shards of one window may not fit into `limit_bytes`.
    """
    # Which shards share a window changes with the epoch; the largest ones may do.
    together = max(len(window) for window in order.windows(0))
    largest = sorted(shard_bytes, reverse=True)
    needed = sum(largest[:together])
    if needed <= limit_bytes:
        return
    if together == len(shard_bytes) > 1:
        raise ConfigError(
            f"this order may read any of {together} shards at any time, and their {needed:,} bytes do not fit into a "
            f'shard cache of {limit_bytes:,} bytes. Raise its limit, or use shuffle="shards" with fewer '
            "`window_shards`."
        )
    fitting = int(np.searchsorted(np.cumsum(largest), limit_bytes, side="right"))
    fewer = f", or use `window_shards` of {fitting} at most" if fitting else ""
    raise ConfigError(
        f"a window of {together} shards may have {needed:,} bytes, which do not fit into a shard cache of "
        f"{limit_bytes:,} bytes. Raise its limit{fewer}."
    )
