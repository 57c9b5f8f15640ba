"""A directory of whole shards with a size limit, which all processes of a host share.

What the processes agree on is in the file system, so that the kernel tidies up after one that dies:

    cache.lock              held for moments: whoever looks at what is there in order to change it
    shards/KEY              a whole shard; who reads it holds a shared lock on it, and it is not removed
    shards/KEY.N.partial    a shard of N bytes on its way; who fetches it holds an exclusive lock on it
    users/NAME              locked by a live process: the keys that it will need soon

Every file in shards/ counts with its full size from the moment at which its fetch begins, so the limit holds
at every time. What was used least recently goes first; what a live process will need soon goes last.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tfdml.errors import ConfigError, DataError
from tfdml.shared_files import one_process_at_a_time

_PARTIAL = ".partial"
_LOOK_AGAIN_SECONDS = 0.02
# How long a shard that is needed waits for space that others occupy. They hold a shard for one batch.
PATIENCE_SECONDS = 300.0


@dataclass(frozen=True)
class CacheEntry:
    """A shard that can be had.

    Attributes:
        key: its file name in the cache; another version of it has another key.
        num_bytes: its size there.
        fetch: writes all of it to a path, or raises.
        name: for messages.
        fetch_bytes: what it occupies in addition while it is fetched.
    """

    key: str
    num_bytes: int
    fetch: Callable[[Path], None] = field(compare=False)
    name: str = field(compare=False)
    fetch_bytes: int = 0


class ShardCache:
    """Shards in `directory`, `limit_bytes` at most, together with all other processes that use it."""

    def __init__(self, directory: str | os.PathLike[str], limit_bytes: int):
        if limit_bytes < 1:
            raise ConfigError(
                f"`limit_bytes` of the shard cache must be positive, got {limit_bytes}."
            )
        self.directory = Path(directory).absolute()
        self.limit_bytes = limit_bytes
        self._shards = self.directory / "shards"
        self._users = self.directory / "users"
        self._lock = self.directory / "cache.lock"
        try:
            for each in (self._shards, self._users):
                each.mkdir(parents=True, exist_ok=True)
            self._lock.touch()
        except OSError as error:
            raise DataError(
                f"{self.directory}: the shard cache cannot be made here ({error.strerror or error})."
            ) from None

    def path(self, entry: CacheEntry) -> Path:
        """Where the shard is, once it is there."""
        return self._shards / entry.key

    def pin(self, entries: Iterable[CacheEntry]) -> Pins | None:
        """Keep these shards from being removed; None, and nothing is kept, unless all are there."""
        pins = Pins()
        with one_process_at_a_time(self._lock):
            for entry in entries:
                try:
                    file = open(self.path(entry), "rb")  # noqa: SIM115 - it stays open: its lock is the pin
                except FileNotFoundError:
                    pins.close()
                    return None
                pins.add(file)
                fcntl.flock(file, fcntl.LOCK_SH)
                os.utime(file.fileno())
        return pins

    def has(self, entry: CacheEntry) -> bool:
        return self.path(entry).exists()

    def use(self, entries: Sequence[CacheEntry]) -> Pins:
        """Pin these shards; those that are missing are fetched or, if another process does so, waited for.

        Raises:
            DataError: one cannot be fetched, or live processes occupy the whole cache.
        """
        pins = self.pin(entries)
        if pins is not None:
            return pins
        # Two processes that each hold some shards and wait for space for others would wait for ever, so
        # one process at a time holds while it waits.
        pins = Pins()
        try:
            with one_process_at_a_time(self.directory / "turn.lock"):
                for entry in entries:
                    while (pinned := self.pin([entry])) is None:
                        self.bring(entry)
                    pins.add(pinned)
        except BaseException:
            pins.close()
            raise
        return pins

    def bring(self, entry: CacheEntry) -> None:
        """Have a shard in the cache that is needed now: room is made at any cost but that of pinned ones."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            outcome = self._start(entry, needed_now=True)
            if outcome == "there":
                return
            if not isinstance(outcome, str):
                self._fetch(entry, outcome)
                return
            if outcome == "on its way":
                deadline = time.monotonic() + PATIENCE_SECONDS  # its fetch has limits of its own
            if time.monotonic() > deadline:
                raise DataError(
                    f"{self.directory}: no room for {entry.name} ({entry.num_bytes:,} bytes) in a shard cache of "
                    f"{self.limit_bytes:,} bytes: live processes use all of it. Raise the limit."
                )
            time.sleep(_LOOK_AGAIN_SECONDS)

    def bring_ahead(self, entry: CacheEntry) -> bool:
        """Fetch a shard that will be needed; False where another process does, or where there is no room for it."""
        outcome = self._start(entry, needed_now=False)
        if isinstance(outcome, str):
            return outcome == "there"
        self._fetch(entry, outcome)
        return True

    @contextlib.contextmanager
    def user(self) -> Iterator[User]:
        """Announce what this process will need; dropped at the end of the block or of the process."""
        path = self._users / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        with one_process_at_a_time(self._lock):
            file = open(path, "w")  # noqa: SIM115 - it stays open for its lock
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield User(file, self._lock)
        finally:
            path.unlink(missing_ok=True)
            file.close()

    def used_bytes(self) -> int:
        """Bytes of all shards that are there or on their way."""
        with one_process_at_a_time(self._lock):
            return sum(size for _, size in self._files())

    def _start(self, entry: CacheEntry, needed_now: bool) -> IO[bytes] | str:
        """The open, locked file to fetch into; or "there", "on its way" or "no room"."""
        occupied = entry.num_bytes + entry.fetch_bytes
        partial = self._shards / f"{entry.key}.{occupied}{_PARTIAL}"
        with one_process_at_a_time(self._lock):
            if self.has(entry):
                return "there"
            if partial.exists() and not _remove_unless_locked(partial):
                return "on its way"
            if not self._make_room(entry, needed_now):
                return "no room"
            file = open(partial, "wb")  # noqa: SIM115 - it stays open for its lock
            fcntl.flock(file, fcntl.LOCK_EX)
            return file

    def _fetch(self, entry: CacheEntry, file: IO[bytes]) -> None:
        partial = Path(file.name)
        try:
            entry.fetch(partial)
            size = partial.stat().st_size
            if size != entry.num_bytes:
                raise DataError(f"{entry.name}: {size:,} bytes, not {entry.num_bytes:,}.")
            os.fsync(file.fileno())  # after a power failure, no torn shard under its name either
            with one_process_at_a_time(self._lock):
                partial.rename(self.path(entry))
        except BaseException as error:
            partial.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise DataError(
                    f"{self.directory}: the disk of the shard cache is full. Lower the cache's limit "
                    f"({self.limit_bytes:,} bytes) or free some space."
                ) from None
            raise
        finally:
            file.close()

    def _make_room(self, entry: CacheEntry, needed_now: bool) -> bool:
        """Remove shards until `entry` fits; called with the lock held."""
        num_bytes = entry.num_bytes + entry.fetch_bytes
        if num_bytes > self.limit_bytes:
            raise DataError(
                f"{entry.name}: {num_bytes:,} bytes do not fit into a shard cache of "
                f"{self.limit_bytes:,} bytes. Raise its limit."
            )
        files = list(self._files())
        excess = sum(size for _, size in files) + num_bytes - self.limit_bytes
        if excess <= 0:
            return True
        kept = self._kept()
        removable = []
        for path, size in files:
            if path.name.endswith(_PARTIAL):
                excess -= size if _remove_unless_locked(path) else 0
            elif needed_now or path.name not in kept:
                removable.append((path.name in kept, path.stat().st_mtime_ns, path, size))
        for _, _, path, size in sorted(removable):
            if excess <= 0:
                break
            excess -= size if _remove_unless_locked(path) else 0
        return excess <= 0

    def _files(self) -> Iterator[tuple[Path, int]]:
        """(path, bytes that it will have) of all shards."""
        for path in self._shards.iterdir():
            if path.name.endswith(_PARTIAL):
                yield path, int(path.name.split(".")[-2])
            else:
                with contextlib.suppress(FileNotFoundError):
                    yield path, path.stat().st_size

    def _kept(self) -> set[str]:
        """Keys that live processes will need soon; called with the lock held."""
        kept: set[str] = set()
        for path in self._users.iterdir():
            if not _remove_unless_locked(path):
                kept.update(path.read_text().split("\n"))
        return kept


class Pins:
    """Shards that stay where they are until `close`."""

    def __init__(self) -> None:
        self._held: list[IO[bytes] | Pins] = []

    def add(self, held: IO[bytes] | Pins) -> None:
        self._held.append(held)

    def close(self) -> None:
        for each in self._held:
            each.close()
        self._held.clear()

    def __enter__(self) -> Pins:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


@dataclass(frozen=True)
class User:
    """What one process will need soon."""

    file: IO[str]
    lock: Path

    def will_need(self, keys: Iterable[str]) -> None:
        """Replace the list."""
        with one_process_at_a_time(self.lock):
            self.file.seek(0)
            self.file.truncate()
            self.file.write("\n".join(keys))
            self.file.flush()


def _remove_unless_locked(path: Path) -> bool:
    """True where the file is gone now; False where a live process holds a lock on it."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True
