"""The directory that holds a job's snapshots: one subdirectory each, and two small files that say whose it is.

    snapshot-000000000020-3fa91c-0002/task-00000.bin ... manifest.json
    run.json        which start of the job owns the directory now
    latest.json     the newest snapshot that was committed, so that its loss is noticed

A snapshot without manifest is what a crash left: nobody reads it, and the next save removes it.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfdml.checkpoint.damage import Damaged, found_damaged
from tfdml.checkpoint.manifest import (
    MANIFEST,
    Manifest,
    SnapshotName,
    parse_manifest,
    parse_name,
    part_name,
    sealed,
    unsealed,
)
from tfdml.checkpoint.part_file import PartDigest, PartFile
from tfdml.checkpoint.position import Position
from tfdml.checkpoint.retention import Retention
from tfdml.errors import DataError
from tfdml.shared_files import appears_when_whole

_log = logging.getLogger("tfdml")

RUN_FILE, LATEST_FILE = "run.json", "latest.json"


@dataclass(frozen=True)
class Listing:
    """What lies in a directory.

    Attributes:
        snapshots: those with a manifest that can be read, newest first; their parts may still be damaged.
        damaged: name -> what is wrong with the manifest.
        unfinished: names without a manifest.
    """

    snapshots: list[Manifest]
    damaged: dict[str, str]
    unfinished: list[str]


class SnapshotDirectory:
    """The snapshots below `path`, of which every task sees the same."""

    def __init__(self, path: Path):
        self.path = path

    def part_path(self, name: SnapshotName, task: int) -> Path:
        return self.path / str(name) / part_name(task)

    def make(self, name: SnapshotName) -> None:
        """Make the directory of a snapshot; every task calls it before it writes."""
        target = self.path / str(name)
        if not target.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            sync_directory(self.path)

    def listing(self) -> Listing:
        found = Listing([], {}, [])
        for target in self.path.iterdir() if self.path.is_dir() else ():
            if parse_name(target.name) is None or not target.is_dir():
                continue
            try:
                with found_damaged():
                    data = (target / MANIFEST).read_bytes()
                    found.snapshots.append(parse_manifest(data, target.name))
            except Damaged as error:
                if (target / MANIFEST).exists():
                    found.damaged[target.name] = str(error)
                else:
                    found.unfinished.append(target.name)
        found.snapshots.sort(key=lambda each: each.number, reverse=True)
        return found

    def manifest(self, name: str) -> Manifest:
        """Raises Damaged when it is not there or not what was written."""
        with found_damaged():
            try:
                return parse_manifest((self.path / name / MANIFEST).read_bytes(), name)
            except FileNotFoundError:
                raise Damaged(f"{MANIFEST} is missing") from None

    def collect(self, name: SnapshotName, num_tasks: int) -> list[PartDigest]:
        """The digests of all parts of a snapshot that is to be committed.

        Raises:
            Damaged: a part is missing, or is not of this save.
        """
        digests = []
        for task in range(num_tasks):
            with found_damaged():
                part = PartFile(self.part_path(name, task))
            author = part.author
            if (author.run, author.save, author.task) != (name.run, name.save, task):
                raise Damaged(f"{part_name(task)} was written by another run of the job")
            digests.append(part.digest)
        return digests

    def commit(
        self,
        name: SnapshotName,
        position: Position,
        digests: Sequence[PartDigest],
        facts: Mapping[str, object],
        number_above: int = 0,
    ) -> Manifest:
        """Write the manifest of a snapshot whose parts are there: with its rename the snapshot is whole.

        Args:
            number_above: the highest number known to have been given, wherever else snapshots are.

        Raises:
            OSError: the storage is full or not writable.
        """
        number = 1 + max((number_above, *(each.number for each in self.listing().snapshots)))
        manifest = Manifest(name, position, number, list(digests), facts)
        _write(self.path / str(name) / MANIFEST, manifest.to_bytes())
        return manifest

    def note_latest(self, name: SnapshotName) -> None:
        """Write down that this snapshot was committed, so that its loss is noticed."""
        _write(self.path / LATEST_FILE, sealed({"name": str(name), "step": name.step}))

    def clean(self, keep: str = "") -> None:
        """Remove what crashes left, but for the snapshot `keep`, which is being written."""
        for name in self.listing().unfinished:
            if name != keep:
                self.remove(name)
        for pattern in (RUN_FILE, LATEST_FILE):
            for temporary in self.path.glob(f".{pattern}.*.partial"):
                temporary.unlink(missing_ok=True)

    def keep_newest(self, count: int) -> None:
        """Remove all but the `count` newest, on a task that has no manifests because it shares no storage."""
        targets = [path for path in self.path.glob("snapshot-*") if parse_name(path.name)]
        targets.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for target in targets[count:]:
            self.remove(target.name)

    def retire(self, retention: Retention, damaged: Sequence[str] = ()) -> list[str]:
        """Take the manifests from what need not be kept, and from damaged ones when enough newer ones are there.

        Returns:
            Their names, to be removed.

        Args:
            damaged: names of snapshots that a restore found damaged. They do not count as kept.
        """
        listing = self.listing()
        whole = [each for each in listing.snapshots if str(each.name) not in damaged]
        names = [str(each.name) for each in retention.superfluous(whole)]
        if len(whole) >= retention.last:
            # Their bytes may be wanted for a look at what happened, until then.
            newest = {str(each.name) for each in whole}
            names += [name for name in (*damaged, *listing.damaged) if name not in newest]
        for name in names:
            self._take_manifest(name)
        return names

    def remove(self, name: str) -> None:
        """Remove one snapshot, its manifest first: a crash in between leaves an unfinished one."""
        self._take_manifest(name)
        shutil.rmtree(self.path / name, ignore_errors=True)

    def _take_manifest(self, name: str) -> None:
        target = self.path / name
        if (target / MANIFEST).exists():
            (target / MANIFEST).unlink(missing_ok=True)
            sync_directory(target)

    def delete(self) -> None:
        """Remove all snapshots and what says whose they were; other files stay."""
        (self.path / LATEST_FILE).unlink(missing_ok=True)
        listing = self.listing()
        names = [str(each.name) for each in listing.snapshots]
        for name in (*names, *listing.damaged, *listing.unfinished):
            self.remove(name)
        (self.path / RUN_FILE).unlink(missing_ok=True)

    def latest(self) -> SnapshotName | None:
        """The name of the snapshot that was committed last, or None where none ever was, or nobody knows."""
        try:
            return parse_name(unsealed((self.path / LATEST_FILE).read_bytes(), LATEST_FILE)["name"])
        except FileNotFoundError:
            return None
        except (OSError, Damaged, KeyError) as error:
            _log.warning("%s cannot be read (%s)", self.path / LATEST_FILE, error)
            return None

    def own(self, run: str) -> None:
        """Say that the directory belongs to `run` from now on.

        Raises:
            DataError: it cannot be written to.
        """
        try:
            _write(self.path / RUN_FILE, sealed({"run": run, "process": os.getpid()}))
        except OSError as error:
            raise DataError(
                f"{self.path / RUN_FILE} cannot be written ({(error.strerror or str(error)).lower()}). Snapshots "
                "need room and write access there."
            ) from None

    def check_owner(self, run: str) -> None:
        """Raises DataError when another start of the job, or another job, has taken the directory."""
        try:
            owner = unsealed((self.path / RUN_FILE).read_bytes(), RUN_FILE)["run"]
        except (OSError, Damaged, KeyError):
            owner = None
        if owner not in (run, None):
            raise DataError(
                f"another job has begun to save to {self.path}: its {RUN_FILE} names run {owner}, this is run {run}. "
                "Give every job a directory of its own."
            )


def sync_directory(path: Path) -> None:
    """Bring the names in a directory to the disk, as fsync does the bytes of a file."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(path: Path, data: bytes) -> None:
    with appears_when_whole(path) as temporary:
        temporary.write_bytes(data)
    sync_directory(path.parent)
