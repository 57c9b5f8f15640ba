"""Saving: every task writes its part in the background, all agree that all parts are there, the chief commits.

Nothing here waits for other tasks but `advance`, `wait` and `begin` after an unfinished save, which every task calls
at the same points; they exchange numbers through a function that the Trainer passes in. A save goes through

    begin    every task copies its contents to host memory, and a thread begins to write them
    advance  once an execution: when every part is on the disk, the chief's thread writes the manifest
    advance  once more: when it is written, all know the outcome

A crash in between leaves a directory without manifest, which nobody reads and the next save removes.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tfdml.checkpoint.background import BackgroundWork
from tfdml.checkpoint.contents import Contents, entries_of
from tfdml.checkpoint.damage import Damaged
from tfdml.checkpoint.directory import SnapshotDirectory, sync_directory
from tfdml.checkpoint.host_copy import HostCopy, Placed
from tfdml.checkpoint.manifest import SnapshotName, part_name
from tfdml.checkpoint.mirror import Mirror
from tfdml.checkpoint.outcome import Outcome
from tfdml.checkpoint.part_file import Author, write_part
from tfdml.checkpoint.position import Position
from tfdml.checkpoint.retention import Retention
from tfdml.checkpoint.shared_check import OfEach
from tfdml.errors import TfdmlError

_log = logging.getLogger("tfdml")

_RUNNING, _DONE, _FAILED = 0.0, 1.0, 2.0


@dataclass(frozen=True)
class Place:
    """Who saves where.

    Attributes:
        run: the name of this start of the job, the same on every task.
        of_each: exchanges one number between the tasks.
        is_shared: whether every task sees the local directory; otherwise there is a remote one that all see.
    """

    directory: SnapshotDirectory
    mirror: Mirror | None
    run: str
    task: int
    num_tasks: int
    of_each: OfEach
    is_shared: bool


@dataclass
class _Save:
    name: SnapshotName
    position: Position
    facts: Mapping[str, object]
    begun: float
    pause_seconds: float = 0.0
    num_bytes: int = 0
    is_committing: bool = False
    is_committed: threading.Event = field(default_factory=threading.Event)
    error: str = ""  # of this task


class Saver:
    """Saves one snapshot at a time.

    Attributes:
        damaged: names of snapshots that a restore found damaged, for the chief to remove in time.
    """

    def __init__(self, place: Place, retention: Retention, memory: HostCopy | None = None):
        self._place = place
        self._retention = retention
        self._memory = memory or HostCopy()
        self._work = BackgroundWork("tfdml-snapshot")
        self._save: _Save | None = None
        self._count = 0
        self.damaged: list[str] = []

    @property
    def pending(self) -> bool:
        """Whether a save was begun whose outcome is not known yet; the same on every task."""
        return self._save is not None

    def begin(
        self, position: Position, contents: Contents, facts: Mapping[str, object] | None = None
    ) -> Outcome | None:
        """Copy `contents` and begin to write them; every task calls it at the same step with what it has to save.

        Returns:
            The outcome of the save before, where that was still pending: two never run at once.
        """
        before = self.wait()
        self._count += 1
        started = time.monotonic()
        name = SnapshotName(position.global_step, self._place.run, self._count)
        save = _Save(name, position, facts or {}, started)
        self._save = save
        try:
            data, placed = self._memory.place(entries_of(contents))
            self._memory.copy(data, [place for place in placed if not place.entry.is_value])
        except MemoryError as error:  # all tasks must come to the same end of this save
            save.error = str(error) or "not enough memory"
            return before
        save.num_bytes = data.nbytes

        self._work.start(lambda: self._write(name, data, placed))
        save.pause_seconds = time.monotonic() - started
        return before

    def is_written(self) -> bool:
        """Whether this task's part of the pending save is on the disk.

        Raises:
            OSError, TfdmlError: it could not be written; told once.
        """
        return self._save is not None and self._work.check()

    def commit(self) -> None:
        """Make the pending save a snapshot, in the background; on the chief, when all parts are written."""
        save = self._save
        assert save is not None and self._place.task == 0
        self._work.start(lambda: self._commit(save))

    def abandon(self) -> None:
        """Forget the pending save and remove what was written of it; on every task, while none is writing."""
        save, self._save = self._save, None
        place = self._place
        if save is not None and (place.task == 0 or not place.is_shared):
            with contextlib.suppress(OSError):
                place.directory.remove(str(save.name))
            if place.mirror is not None and place.task == 0 and not place.is_shared:
                with contextlib.suppress(TfdmlError):
                    place.mirror.remove(str(save.name))

    def advance(self) -> Outcome | None:
        """Bring the pending save one step on, if all tasks are ready for it; every task calls it at the same point.

        Returns:
            The outcome once it is known; None while it is not, and when nothing is pending.
        """
        save = self._save
        if save is None:
            return None
        statuses = self._place.of_each(self._status(save))
        if _RUNNING in statuses:
            return None
        failed = [task for task, status in enumerate(statuses) if status == _FAILED]
        if failed:
            self.abandon()
            return self._outcome(save, self._error_of(save, failed))
        if not save.is_committing:
            save.is_committing = True
            if self._place.task == 0:
                self.commit()
            return None
        self._save = None
        return self._outcome(save, "")

    def wait(self) -> Outcome | None:
        """`advance` until the outcome is known; every task calls it at the same point."""
        while self._save is not None:
            if self._save.is_committing and self._place.task == 0:
                while not self._save.is_committed.wait(0.01) and self._work.is_running:
                    pass
            else:
                self._work_has_ended()
            outcome = self.advance()
            if outcome is not None:
                return outcome
        return None

    def settle(self) -> None:
        """Wait for what the thread still does when all know that a snapshot is saved."""
        self._work_has_ended()

    def close(self) -> None:
        """Wait for what this task is writing; what is not committed then will be ignored. Gives the memory back."""
        self._work_has_ended()
        self._save = None
        self._memory.release()
        if self._place.mirror is not None:
            self._place.mirror.close()

    # -- in the background

    def _write(self, name: SnapshotName, data: np.ndarray, placed: list[Placed]) -> None:
        place = self._place
        # At once, so that the next update of the variables finds nobody who holds what was read from them.
        self._memory.copy(data, [each for each in placed if each.entry.data is not None])
        if place.task == 0:
            place.directory.clean(keep=str(name))  # first, because the disk may be full of it
        elif not place.is_shared:
            place.directory.keep_newest(self._retention.last)
        place.directory.make(name)
        path = place.directory.part_path(name, place.task)
        write_part(path, Author(name.run, name.save, place.task), data, placed)
        sync_directory(path.parent)
        if place.mirror is not None and not place.is_shared:
            place.mirror.upload(str(name), part_name(place.task))

    def _commit(self, save: _Save) -> None:
        place = self._place
        place.directory.check_owner(place.run)
        if place.mirror is not None and not place.is_shared:
            digests = place.mirror.collect(save.name, place.num_tasks)
        else:
            digests = place.directory.collect(save.name, place.num_tasks)
        number = 0 if place.mirror is None else place.mirror.highest_number
        place.directory.commit(save.name, save.position, digests, save.facts, number)
        if place.mirror is not None and not place.is_shared:
            place.mirror.finish(str(save.name), self._retention)
        retired = place.directory.retire(self._retention, self.damaged)
        self.damaged = [name for name in self.damaged if name not in retired]
        save.is_committed.set()  # what comes now takes time, and the snapshot need not wait for it
        try:
            place.directory.note_latest(save.name)
            for name in retired:
                place.directory.remove(name)
        except OSError as error:
            _log.warning("old snapshots in %s: %s", place.directory.path, error)
        if place.mirror is not None and place.is_shared:
            place.mirror.begin(self._retention)

    # -- parts

    def _status(self, save: _Save) -> float:
        if save.error:
            return _FAILED
        try:
            return _DONE if save.is_committed.is_set() or self._work.check() else _RUNNING
        except Exception as error:  # whatever it is, all tasks must come to the same end
            save.error = _told(error)
            return _FAILED

    def _error_of(self, save: _Save, failed: list[int]) -> str:
        what = "commit it" if save.is_committing else "write its part"
        who = f"task{'s' if len(failed) > 1 else ''} {', '.join(map(str, failed))} could not {what}"
        reason = f" ({save.error.rstrip('.')})" if save.error else " (its log says why)"
        return f"the snapshot of step {save.name.step} was not saved to {self._place.directory.path}: {who}{reason}."

    def _outcome(self, save: _Save, error: str) -> Outcome:
        mirror = self._place.mirror
        return Outcome(
            name=str(save.name),
            position=save.position,
            error=error,
            mirror_error="" if mirror is None else mirror.take_error(),
            num_bytes=save.num_bytes,
            pause_seconds=save.pause_seconds,
            seconds=time.monotonic() - save.begun,
        )

    def _work_has_ended(self) -> None:
        """Wait for the thread without taking its error, which `advance` tells to all tasks."""
        save = self._save
        try:
            self._work.wait()
        except Exception as error:
            if save is None:
                _log.warning("a snapshot was not saved: %s", _told(error))
            else:
                save.error = _told(error)


def _told(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        remedy = "; free some space" if error.errno == errno.ENOSPC else ""
        return f"{(error.strerror or str(error)).lower()}{remedy}"
    if isinstance(error, (TfdmlError, Damaged)):
        return str(error)
    _log.error("a snapshot was not saved", exc_info=error)  # a bug keeps its traceback
    return f"{type(error).__name__}: {error}"
