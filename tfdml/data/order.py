"""Which records a step trains on, as a pure function: no state, no buffer, the same for any number of workers.

A step's global batch is a list of record ids that depends on (seed, epoch, step, global batch size) alone. Each
task reads a contiguous part of that list, its `Slice`: the union over the tasks is the list itself, however many.
`in_graph.py` computes the same numbers inside a tf.data pipeline.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from tfdml.data import permutation
from tfdml.errors import ConfigError

Shuffle = Literal["full", "shards", "none"]
Remainder = Literal["keep", "drop"]
SHUFFLES = ("full", "shards", "none")
REMAINDERS = ("keep", "drop")


@dataclass(frozen=True)
class Slice:
    """The replicas of one task among all: it reads their rows of every global batch."""

    first_replica: int = 0
    num_local_replicas: int = 1
    num_replicas: int = 1

    def __post_init__(self) -> None:
        end = self.first_replica + self.num_local_replicas
        if self.first_replica < 0 or self.num_local_replicas < 1 or end > self.num_replicas:
            raise ConfigError(
                f"a slice of {self.num_local_replicas} replicas from number {self.first_replica} on does not lie in "
                f"{self.num_replicas} replicas. Replicas are numbered from 0 to num_replicas - 1."
            )

    def rows(self, global_rows: int) -> tuple[int, int]:
        """(start, size) of this task's rows in a batch of `global_rows`; size may be 0.

        The batch is cut into contiguous parts, one a replica, whose sizes differ by one, the larger first.
        """
        smaller, larger_parts = divmod(global_rows, self.num_replicas)

        def start_of(replica: int) -> int:
            return replica * smaller + min(replica, larger_parts)

        start = start_of(self.first_replica)
        return start, start_of(self.first_replica + self.num_local_replicas) - start


@dataclass(frozen=True)
class Draw:
    """The records of one global batch.

    Attributes:
        ids: int64 [rows], the records.
        visits: int64 [rows], how often each has been drawn before: the epoch, where every epoch draws all
            records. What is random about a record depends on this number.
    """

    ids: np.ndarray
    visits: np.ndarray


class AnyOrder(Protocol):
    """What `Source` needs of an order: `Order` here, `Mixture` and `ClassBalanced` in mixture.py."""

    @property
    def num_records(self) -> int: ...
    @property
    def global_batch_size(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def steps_per_epoch(self) -> int: ...
    @property
    def records_per_epoch(self) -> int: ...
    def rows(self, step: int) -> int: ...
    def draw(self, epoch: int, step: int) -> Draw: ...
    def record_ids(self, epoch: int, step: int) -> np.ndarray: ...


@dataclass(frozen=True)
class Order:
    """Every record once per epoch, in an order of the epoch's own.

    Args:
        num_records: records are numbered from 0.
        global_batch_size: records of one step, on all replicas together.
        seed: another seed, another order.
        shuffle: "full" mixes all records. "shards" mixes the order of the shards and, in each window of
            `window_shards` of them, their records, for disks and object stores that are slow at random
            access. "none" keeps the order of the files.
        remainder: what becomes of the last records of an epoch when they are fewer than a batch: "keep" makes
            a smaller batch, "drop" leaves them out (other ones in each epoch, where there is a shuffle).
        shard_sizes: records of each shard; "shards" needs them, and staging of remote shards does.
        window_shards: for "shards".
    """

    num_records: int
    global_batch_size: int
    seed: int = 0
    shuffle: Shuffle = "full"
    remainder: Remainder = "keep"
    shard_sizes: tuple[int, ...] = ()
    window_shards: int = 16

    def __post_init__(self) -> None:
        permutation.check_size(self.num_records)
        check_batch_size(self.global_batch_size)
        _check_name("shuffle", self.shuffle, SHUFFLES)
        _check_name("remainder", self.remainder, REMAINDERS)
        in_order = self.shuffle == "none" and self.remainder == "keep"
        if self.global_batch_size > self.num_records and not in_order:
            raise ConfigError(
                f"`global_batch_size` is {self.global_batch_size}, but the data set has {self.num_records} records. "
                'Use a smaller batch. (To evaluate, shuffle="none" makes one smaller batch.)'
            )
        if self.shuffle != "shards":
            return
        if self.window_shards < 1:
            raise ConfigError(f"`window_shards` must be at least 1, got {self.window_shards}.")
        if sum(self.shard_sizes) != self.num_records:
            raise ConfigError(
                f'shuffle="shards" needs `shard_sizes` that add up to num_records ({self.num_records}), got '
                f"{len(self.shard_sizes)} sizes with the sum {sum(self.shard_sizes)}. "
                "Pass the `shard_sizes` of the record set."
            )

    @property
    def steps_per_epoch(self) -> int:
        whole, rest = divmod(self.num_records, self.global_batch_size)
        return whole + (rest > 0 and self.remainder == "keep")

    @property
    def records_per_epoch(self) -> int:
        """Records that an epoch draws; fewer than there are with remainder="drop"."""
        return min(self.num_records, self.steps_per_epoch * self.global_batch_size)

    def rows(self, step: int) -> int:
        """Records in the global batch of step `step` of an epoch."""
        check_step(step, self.steps_per_epoch)
        return min(self.global_batch_size, self.num_records - step * self.global_batch_size)

    def record_ids(self, epoch: int, step: int) -> np.ndarray:
        """int64 [rows(step)]: the records of the whole global batch."""
        start = step * self.global_batch_size
        places = np.arange(start, start + self.rows(step))
        if self.shuffle == "none":
            return places
        if self.shuffle == "full":
            key = permutation.key_of(self.seed, permutation.OF_EPOCH, epoch)
            return permutation.permuted(places, self.num_records, key)
        return self._in_windows(epoch, places)

    def draw(self, epoch: int, step: int) -> Draw:
        """The records of the whole global batch, and how often they have been drawn before."""
        ids = self.record_ids(epoch, step)
        return Draw(ids, np.full(ids.shape, epoch, np.int64))

    def windows(self, epoch: int) -> list[np.ndarray]:
        """The numbers of the shards that are read together, int64 arrays, in the order of reading."""
        order = self._shards_in_order(epoch)
        if self.shuffle == "full":
            return [order]
        size = 1 if self.shuffle == "none" else self.window_shards
        return [order[i : i + size] for i in range(0, len(order), size)]

    def windows_of(self, epoch: int, step: int) -> range:
        """Which of `windows(epoch)` the global batch of a step reads."""
        first, last = step * self.global_batch_size, self.rows(step) - 1
        ends = np.cumsum(
            [sum(self.shard_sizes[s] for s in window) for window in self.windows(epoch)]
        )
        begin, end = np.searchsorted(ends, [first, first + last], side="right")
        return range(int(begin), int(end) + 1)

    def _shards_in_order(self, epoch: int) -> np.ndarray:
        shards = len(self.shard_sizes)
        if self.shuffle != "shards":
            return np.arange(shards)
        key = permutation.key_of(self.seed, permutation.OF_SHARDS, epoch)
        return permutation.permuted(np.arange(shards), shards, key)

    def _windows(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """For an epoch: where each shard ends in the order of shards, and where each window does."""
        shard_ends = np.cumsum(np.asarray(self.shard_sizes, np.int64)[self._shards_in_order(epoch)])
        last = np.arange(self.window_shards - 1, len(shard_ends), self.window_shards)
        if not len(last) or last[-1] != len(shard_ends) - 1:
            last = np.append(last, len(shard_ends) - 1)
        return shard_ends, shard_ends[last]

    def _in_windows(self, epoch: int, places: np.ndarray) -> np.ndarray:
        order = self._shards_in_order(epoch)
        shard_ends, window_ends = self._windows(epoch)
        windows = np.searchsorted(window_ends, places, side="right")
        mixed = np.empty_like(places)
        for window in np.unique(windows):
            here = windows == window
            begin = int(window_ends[window - 1]) if window > 0 else 0
            size = int(window_ends[window]) - begin
            key = permutation.key_of(self.seed, permutation.OF_WINDOW, epoch, int(window))
            mixed[here] = begin + permutation.permuted(places[here] - begin, size, key)
        slots = np.searchsorted(shard_ends, mixed, side="right")
        sizes = np.asarray(self.shard_sizes, np.int64)[order]
        in_shard = mixed - (shard_ends[slots] - sizes[slots])
        return self._first_ids[order[slots]] + in_shard

    @functools.cached_property
    def _first_ids(self) -> np.ndarray:
        return first_ids_of(self.shard_sizes)


def first_ids_of(sizes: Sequence[int]) -> np.ndarray:
    """int64 [n + 1]: the id of each part's first record, and the number of all records."""
    return np.concatenate([[0], np.cumsum(np.asarray(sizes, np.int64))]).astype(np.int64)


def check_batch_size(global_batch_size: int) -> None:
    """Raises ConfigError unless it is a whole number of at least 1."""
    if not isinstance(global_batch_size, int) or global_batch_size < 1:
        raise ConfigError(
            f"`global_batch_size` must be a whole number of at least 1, got {global_batch_size!r}."
        )


def check_step(step: int, steps_per_epoch: int) -> None:
    """Raises ConfigError for a step that an epoch does not have."""
    if not 0 <= step < steps_per_epoch:
        raise ConfigError(f"an epoch has the steps 0 to {steps_per_epoch - 1}, got step {step}.")


def _check_name(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ConfigError(f"`{what}` must be one of {', '.join(known)}, got {name!r}.")
