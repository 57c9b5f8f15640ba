"""`Snapshots`: what the Trainer holds to save a job and to go on with it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

from tfdml.checkpoint.background import BackgroundWork
from tfdml.checkpoint.contents import Contents, entries_of
from tfdml.checkpoint.directory import SnapshotDirectory
from tfdml.checkpoint.host_copy import HostCopy
from tfdml.checkpoint.mirror import Mirror
from tfdml.checkpoint.outcome import Outcome
from tfdml.checkpoint.position import Position
from tfdml.checkpoint.restored import Restored
from tfdml.checkpoint.restorer import Restorer
from tfdml.checkpoint.retention import Retention
from tfdml.checkpoint.saver import Place, Saver
from tfdml.checkpoint.shared_check import OfEach, alone, check_shared, check_shared_remote
from tfdml.errors import ConfigError, DataError
from tfdml.storage import is_remote, storage_for

LOCAL_PATIENCE_SECONDS = 5.0  # for a common disk, where there is a URL that all tasks see anyway


class Snapshots:
    """The snapshots of one job in `directory`.

    Made by the user before there is a cluster; `start` says later which task this is. `start`, `restore`, `begin`,
    `advance`, `wait` and `save` are called by every task at the same points.

    Args:
        directory: on storage that every task sees; or a URL (s3://, gs://, ...), to which snapshots are copied.
        keep: how many of the newest to keep.
        keep_every: keep every Nth for ever; 0 for none.
        local_directory: where snapshots are written first when `directory` is a URL; better one that all tasks see.
            Default: ~/.cache/tfdml/snapshots, in a directory of its own for every URL.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        keep: int = 2,
        keep_every: int = 0,
        local_directory: str | os.PathLike[str] | None = None,
    ):
        self._retention = Retention(keep, keep_every)
        self.url = os.fspath(directory)
        remote = is_remote(directory)
        if not remote and local_directory is not None:
            raise ConfigError(
                f"`local_directory` goes with a URL, got the path {self.url!r} as directory. Leave it out."
            )
        local = _local_directory(self.url) if remote else Path(storage_for(directory).url)
        self.directory = SnapshotDirectory(Path(local_directory or local).absolute())
        self._mirror = Mirror(self.directory, storage_for(directory)) if remote else None
        self._memory = HostCopy()
        self._reserving = BackgroundWork("tfdml-reserve")
        self._place: Place | None = None
        self._saver: Saver | None = None

    def start(self, *, task: int = 0, num_tasks: int = 1, of_each: OfEach = alone) -> None:
        """Say which task this is, and make sure that all tasks see the directory.

        Args:
            of_each: exchanges a number between the tasks, as `training.agreement.Agreement.of_each` does.

        Raises:
            DataError: a task does not see the directory, or cannot write to it; on every task, which it names.
        """
        mirror, is_shared = self._mirror, True
        if mirror is None:
            run = check_shared(self.directory.path, task, of_each)
        else:
            try:
                # One host, or hosts with a common disk; others are told in seconds, and need not have one.
                run = check_shared(self.directory.path, task, of_each, LOCAL_PATIENCE_SECONDS)
            except DataError:
                is_shared = False
                self.directory.path.mkdir(parents=True, exist_ok=True)
                run = check_shared_remote(mirror.storage, task, of_each)
        if task == 0 or not is_shared:
            self.directory.own(run)
        self._place = Place(self.directory, mirror, run, task, num_tasks, of_each, is_shared)
        self._saver = Saver(self._place, self._retention, self._memory)

    # -- saving

    @property
    def pending(self) -> bool:
        """Whether a save was begun whose outcome is not known yet; the same on every task."""
        return self._saver is not None and self._saver.pending

    def reserve(self, contents: Contents) -> None:
        """Get the memory for such contents, in the background: otherwise the first save's pause is longer."""
        num_bytes = HostCopy.num_bytes(entries_of(contents))
        self._reserving.start(lambda: self._memory.reserve(num_bytes))

    def begin(
        self, position: Position, contents: Contents, facts: Mapping[str, object] | None = None
    ) -> Outcome | None:
        """Copy `contents` to host memory and write them in the background; `advance` tells the outcome.

        Args:
            contents: of this task. What is the same on every task is needed from the chief only (task 0).
            facts: anything that JSON can say and that `Restored.facts` gives back.

        Returns:
            The outcome of the save before, where nobody had heard of it yet.
        """
        self._reserving.wait()
        return self._started().begin(position, contents, facts)

    def advance(self) -> Outcome | None:
        """The outcome of the pending save once all know it, else None; call once an execution while `pending`."""
        return None if self._saver is None else self._saver.advance()

    def wait(self) -> Outcome | None:
        """Wait for the outcome of the pending save; None when nothing is pending."""
        return None if self._saver is None else self._saver.wait()

    def save(
        self, position: Position, contents: Contents, facts: Mapping[str, object] | None = None
    ) -> Outcome:
        """Save and wait until it is whole, as before the end of a process that was told to stop."""
        started = time.monotonic()
        self.wait()
        self.begin(position, contents, facts)
        outcome = self.wait()
        assert outcome is not None
        pause = time.monotonic() - started
        return Outcome(**{**outcome.__dict__, "pause_seconds": pause})

    # -- restoring

    def restore(self) -> Restored | None:
        """The newest snapshot that is whole for all tasks; None where none was ever saved.

        Raises:
            DataError: on every task, when there are snapshots and none can be used.
        """
        saver, place = self._started(), self._place
        assert place is not None
        restorer = Restorer(
            self.directory,
            self._mirror,
            place.task,
            place.num_tasks,
            place.of_each,
            place.is_shared,
        )
        restored = restorer.restore()
        saver.damaged += restorer.damaged
        return restored

    def delete(self) -> None:
        """Remove all snapshots, here and behind the URL; on the chief, after the training."""
        if self._saver is not None:
            self._saver.settle()  # what a commit does last would come after it
        if self._mirror is not None:
            self._mirror.delete()
        self.directory.delete()

    def close(self) -> None:
        """Wait for what is being written and uploaded, and give the memory back."""
        self._reserving.wait()
        if self._saver is not None:
            self._saver.close()
            self._saver = self._place = None

    def _started(self) -> Saver:
        if self._saver is None:
            self.start()
        assert self._saver is not None
        return self._saver


def _local_directory(url: str) -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache) / "tfdml" / "snapshots" / hashlib.sha256(url.encode()).hexdigest()[:16]
