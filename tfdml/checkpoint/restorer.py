"""Restoring: all tasks take the same snapshot, the newest that every one of them finds whole.

The chief proposes one after the other, the newest first; each task reads and checks what it will need of it. When one
finds damage, all hear of it and go to the one before, with a warning that says what was wrong. What lies only in the
remote directory, or is damaged in the local one, is fetched.
"""

from __future__ import annotations

import functools
import logging
import time

from tfdml.checkpoint.damage import Damaged, found_damaged
from tfdml.checkpoint.directory import SnapshotDirectory
from tfdml.checkpoint.manifest import MANIFEST, Manifest, SnapshotName, parse_name, part_name
from tfdml.checkpoint.mirror import Mirror
from tfdml.checkpoint.part_file import PartFile
from tfdml.checkpoint.restored import Restored
from tfdml.checkpoint.shared_check import OfEach, tell_all
from tfdml.errors import DataError, TfdmlError

_log = logging.getLogger("tfdml")

_NOTHING, _CANDIDATE, _ERROR = 0, 1, 2
_PATIENCE_SECONDS = 30.0  # NFS may show a new file late


class Restorer:
    """Finds the newest whole snapshot.

    Args:
        only: the name of the one to take, where it must be that one.

    Attributes:
        damaged: names of those that were found damaged.
    """

    def __init__(
        self,
        directory: SnapshotDirectory,
        mirror: Mirror | None,
        task: int,
        num_tasks: int,
        of_each: OfEach,
        is_shared: bool = True,
        only: str = "",
    ):
        self._directory = directory
        self._mirror = mirror
        self._task = task
        self._num_tasks = num_tasks
        self._of_each = of_each
        self._is_shared = is_shared
        self._only = only
        self.damaged: list[str] = []
        self._unfinished: list[str] = []

    def restore(self) -> Restored | None:
        """The newest snapshot that all tasks find whole, or None where none was ever saved; every task calls it.

        Raises:
            DataError: on every task, when there are snapshots and none is whole, or this version cannot read them.
        """
        error: TfdmlError | None = None
        candidates: list[SnapshotName] = []
        if self._task == 0:
            try:
                candidates = self._candidates()
            except TfdmlError as problem:
                error = problem
        reasons: list[str] = []
        while True:
            proposal = candidates[len(reasons)] if len(reasons) < len(candidates) else None
            if self._task == 0 and proposal is None and error is None:
                error = self._problem(reasons)
            code = _ERROR if error else _NOTHING if proposal is None else _CANDIDATE
            code = tell_all(self._of_each, code)
            if code == _ERROR:
                raise error or DataError(
                    f"the chief found no snapshot to go on from in {self._directory.path}; its own message says why."
                )
            if code == _NOTHING:
                return None
            name = self._tell_name(proposal)
            manifest, reason = self._verified(str(name))
            answers = self._of_each(0.0 if reason else 1.0)
            bad = [task for task, answer in enumerate(answers) if answer != 1.0]
            if not bad and manifest is not None:
                return Restored(manifest, functools.partial(self._opened, manifest))
            reasons.append(reason or f"task {bad[0]} found it damaged")
            self.damaged.append(str(name))
            self._warn(str(name), reasons[-1])

    def _candidates(self) -> list[SnapshotName]:
        """Newest first; warns of manifests that cannot be read. On the chief."""
        if self._only:
            name = parse_name(self._only)
            return [name] if name is not None else []
        listing = self._directory.listing()
        found = {str(each.name): each for each in listing.snapshots}
        damaged = dict(listing.damaged)
        if self._mirror is not None:
            try:
                remote, remote_damaged = self._mirror.manifests()
            except DataError as error:
                if not found:
                    raise
                _log.warning("going on with the snapshots in %s: %s", self._directory.path, error)
            else:
                damaged |= {n: r for n, r in remote_damaged.items() if n not in found}
                found = {str(each.name): each for each in remote} | found
        damaged = {bad: reason for bad, reason in damaged.items() if bad not in found}
        for bad, reason in damaged.items():
            self._warn(bad, reason)
            self.damaged.append(bad)
        lost = self._directory.latest()
        newest = max((each.name.step for each in found.values()), default=-1)
        # What is older may have been removed to make room before a crash.
        if lost is not None and str(lost) not in damaged and lost.step > newest:
            self._warn(str(lost), f"{MANIFEST} is missing, and it was the newest that was saved")
            self.damaged.append(str(lost))
        self._unfinished = listing.unfinished
        return [each.name for each in sorted(found.values(), key=lambda each: -each.number)]

    def _problem(self, reasons: list[str]) -> TfdmlError | None:
        """Why training cannot go on, where there is no candidate left; None where it never began."""
        path = self._directory.path
        if self.damaged:
            return DataError(
                f"{path} holds {len(self.damaged)} snapshots and none is whole; the warnings above say what is wrong "
                "with each. Remove the directory to train from the beginning."
            )
        if list(path.glob("snapshot-" + "[0-9]" * 12 + ".json")):
            return DataError(
                f"{path} holds snapshots of an older tfdml, which this one cannot read. Finish with the version that "
                "wrote them, or use another directory."
            )
        if self._unfinished:
            _log.warning(
                "%s holds the beginning of a snapshot (%s) and no whole one: the job ended before its first save "
                "did. Training starts at the beginning.",
                path,
                self._unfinished[0],
            )
        return None

    def _tell_name(self, name: SnapshotName | None) -> SnapshotName:
        step = tell_all(self._of_each, name.step if name else 0)
        run = tell_all(self._of_each, int(name.run, 16) if name else 0)
        save = tell_all(self._of_each, name.save if name else 0)
        return SnapshotName(step, f"{run:06x}", save)

    def _verified(self, name: str) -> tuple[Manifest | None, str]:
        """The manifest, and "" or what is wrong with what this task needs of the snapshot."""
        try:
            manifest = self._manifest(name)
            own = {0, self._task}
            same = len(manifest.parts) == self._num_tasks
            for task in sorted(own) if same else range(len(manifest.parts)):
                self._verify_part(manifest, task)
            return manifest, ""
        except Damaged as error:
            return None, str(error)

    def _manifest(self, name: str) -> Manifest:
        give_up = time.monotonic() + (_PATIENCE_SECONDS if self._task else 0.0)
        while True:
            try:
                return self._directory.manifest(name)
            except Damaged:
                if self._mirror is not None and (self._task == 0 or not self._is_shared):
                    self._mirror.fetch(name, MANIFEST)
                    return self._directory.manifest(name)
                if time.monotonic() >= give_up:
                    raise
            time.sleep(0.2)

    def _verify_part(self, manifest: Manifest, task: int) -> None:
        try:
            self._check(manifest, task)
        except Damaged as error:
            if self._mirror is None:
                raise
            if (self._directory.path / str(manifest.name) / part_name(task)).exists():
                _log.warning(
                    "fetching %s of snapshot %s again: %s", part_name(task), manifest.name, error
                )
            self._mirror.fetch(str(manifest.name), part_name(task))
            self._check(manifest, task)

    def _opened(self, manifest: Manifest, task: int) -> PartFile:
        """A part that this task need not have looked at before, so that it may lie in the remote directory only."""
        try:
            return self._part(manifest, task)
        except Damaged:
            if self._mirror is None:
                raise
            self._verify_part(manifest, task)
            return self._part(manifest, task)

    def _check(self, manifest: Manifest, task: int) -> None:
        with found_damaged():
            self._part(manifest, task).verify()

    def _part(self, manifest: Manifest, task: int) -> PartFile:
        part = PartFile(self._directory.part_path(manifest.name, task))
        if part.digest != manifest.parts[task]:
            raise Damaged(f"{part_name(task)} is not the one that {MANIFEST} names")
        return part

    def _warn(self, name: str, reason: str) -> None:
        _log.warning(
            "snapshot %s is damaged (%s); trying the one before",
            self._directory.path / name,
            reason,
        )
