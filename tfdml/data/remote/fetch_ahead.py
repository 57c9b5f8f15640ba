"""Threads that bring shards into the cache in the order in which they will be needed.

Which shards come next is a pure function of the position in the data, so nothing is guessed: from the window
that is being read on, as many as the cache may hold are wanted, and what is wanted is not removed for what
comes later, nor is the window that was just left, for a while. Threads live only while something wanted is missing.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from tfdml.data.remote.shard_cache import CacheEntry, ShardCache
from tfdml.errors import TfdmlError

_log = logging.getLogger("tfdml")
_LOOK_AGAIN_SECONDS = 0.2
# Batches are read at once, and one of the window before may come after the first of the next.
_LATE_CALLS = max(8, os.cpu_count() or 1)
_GIVE_UP_SECONDS = 60.0  # without progress; the next window starts again


class Windows(Protocol):
    """The part of an order that says which shards are read together."""

    def windows(self, epoch: int) -> list[np.ndarray]:
        """The numbers of the shards of each window, in the order of reading."""

    def windows_of(self, epoch: int, step: int) -> range:
        """Which of `windows(epoch)` the global batch of a step reads."""


class AllAtOnce:
    """For an order that may need any shard at any time."""

    def __init__(self, num_shards: int):
        self._shards = np.arange(num_shards)

    def windows(self, epoch: int) -> list[np.ndarray]:
        return [self._shards]

    def windows_of(self, epoch: int, step: int) -> range:
        return range(1)


def upcoming(order: Windows, epoch: int, window: int) -> Iterator[int]:
    """Shards in the order in which they are needed, from a window on, over all epochs to come."""
    for number in itertools.count(epoch):
        for shards in order.windows(number)[window if number == epoch else 0 :]:
            yield from shards.tolist()


def as_many_as_fit(
    order: Windows, epoch: int, window: int, entries: Sequence[CacheEntry | None], limit_bytes: int
) -> list[CacheEntry]:
    """The first of the upcoming shards, each once, which together have `limit_bytes` at most."""
    wanted: dict[int, CacheEntry | None] = {}
    for shard in upcoming(order, epoch, window):
        if shard not in wanted:
            entry = entries[shard]
            limit_bytes -= entry.num_bytes if entry else 0
            if limit_bytes < 0:
                break
            wanted[shard] = entry
            if len(wanted) == len(entries):
                break
    return [entry for entry in wanted.values() if entry]


class FetchAhead:
    """Keeps what comes next coming, for one reader of `entries` in `order`."""

    def __init__(
        self,
        cache: ShardCache,
        entries: Sequence[CacheEntry | None],
        order: Windows,
        num_threads: int = 4,
    ):
        self._cache = cache
        self._entries = entries
        self._order = order
        self._num_threads = num_threads
        self._lock = threading.Lock()
        self._reading: list[tuple[int, int]] = []
        self._window: tuple[int, int] | None = None
        self._left: list[CacheEntry] = []
        self._calls = 0  # since the window was entered
        self._wanted: list[CacheEntry] = []
        self._busy: set[str] = set()
        self._alive = 0
        self._user = contextlib.ExitStack()
        self._announce = self._user.enter_context(cache.user()).will_need

    @contextlib.contextmanager
    def at(self, epoch: int, step: int) -> Iterator[None]:
        """Around the reading of a step's batch. Several batches may be read at once; the earliest counts."""
        position = (epoch, step)
        with self._lock:
            self._reading.append(position)
            self._move(*min(self._reading))
        try:
            yield
        finally:
            with self._lock:
                self._reading.remove(position)

    def close(self) -> None:
        """Want nothing more."""
        with self._lock:
            self._wanted = []
            self._user.close()

    def _move(self, epoch: int, step: int) -> None:
        window = (epoch, self._order.windows_of(epoch, step).start)
        self._calls += 1
        if window != self._window:
            self._left = self._entries_of(self._window)
            self._window, self._calls = window, 0
        elif self._left and self._calls == _LATE_CALLS:
            self._left = []
        else:
            return
        limit = self._cache.limit_bytes
        here = sum(entry.num_bytes for entry in self._entries_of(window))
        left = sum(entry.num_bytes for entry in self._left)
        if here + left > limit:
            self._left, left = [], 0
        self._wanted = as_many_as_fit(self._order, *window, self._entries, limit - left)
        self._announce(entry.key for entry in (*self._wanted, *self._left))
        while self._alive < min(self._num_threads, len(self._wanted)):
            self._alive += 1
            threading.Thread(target=self._work, daemon=True, name="tfdml-fetch").start()

    def _entries_of(self, window: tuple[int, int] | None) -> list[CacheEntry]:
        if window is None:
            return []
        epoch, number = window
        entries = (self._entries[shard] for shard in self._order.windows(epoch)[number])
        return [entry for entry in entries if entry]

    def _work(self) -> None:
        try:
            give_up = time.monotonic() + _GIVE_UP_SECONDS
            elsewhere: set[str] = set()
            while time.monotonic() < give_up:
                entry = self._next(elsewhere)
                if entry is None:
                    if not elsewhere:
                        return
                    elsewhere.clear()
                    time.sleep(_LOOK_AGAIN_SECONDS)
                    continue
                try:
                    if self._cache.bring_ahead(entry):
                        give_up = time.monotonic() + _GIVE_UP_SECONDS
                    else:
                        elsewhere.add(entry.key)
                finally:
                    with self._lock:
                        self._busy.discard(entry.key)
        except TfdmlError as error:
            # Who needs the shard tries again, and tells the user if that fails too.
            _log.warning("fetching ahead: %s", error)
        finally:
            with self._lock:
                self._alive -= 1

    def _next(self, elsewhere: set[str]) -> CacheEntry | None:
        """The first wanted shard that nobody in this process brings yet."""
        with self._lock:
            for entry in self._wanted:
                if entry.key in self._busy or entry.key in elsewhere or self._cache.has(entry):
                    continue
                self._busy.add(entry.key)
                return entry
        return None
