"""A second copy of the snapshots behind a URL: uploaded in the background, and fetched where the local one fails.

Where every task sees the local directory, the chief uploads what was committed there, whenever the link allows it.
Where none is shared, every task uploads its own part before it counts as written, and the remote directory is where
the snapshot is whole. Either way the manifest goes last.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
from pathlib import Path

from tfdml.checkpoint.background import BackgroundWork
from tfdml.checkpoint.damage import Damaged, found_damaged
from tfdml.checkpoint.directory import SnapshotDirectory, sync_directory
from tfdml.checkpoint.manifest import (
    MANIFEST,
    Manifest,
    SnapshotName,
    parse_manifest,
    parse_name,
    part_name,
)
from tfdml.checkpoint.part_file import TAIL_BYTES, PartDigest, read_tail, tail_lengths
from tfdml.checkpoint.retention import Retention
from tfdml.errors import TfdmlError
from tfdml.storage import Storage

_log = logging.getLogger("tfdml")


class Mirror:
    """The copy of `directory` in `storage`.

    Attributes:
        highest_number: of the snapshots that were seen there.
    """

    def __init__(self, directory: SnapshotDirectory, storage: Storage):
        self.storage = storage
        self.highest_number = 0
        self._directory = directory
        # A link may be slow for hours: the local copy is whole, so the end of a process does not wait for it.
        self._work = BackgroundWork("tfdml-mirror", abandoned_at_exit=True)
        self._again = threading.Event()
        self._error = ""

    # -- uploads

    def upload(self, name: str, file: str) -> None:
        """Copy one file of a snapshot; it appears when it is whole."""
        source = self._directory.path / name / file
        with tempfile.TemporaryDirectory(prefix=".upload-", dir=source.parent) as folder:
            link = Path(folder) / file
            os.link(source, link)  # `publish` moves what it is given
            self.storage.publish(link, f"{name}/{file}")

    def finish(self, name: str, retention: Retention) -> None:
        """Upload the manifest of a snapshot whose parts are there, and remove what need not be kept."""
        self.upload(name, MANIFEST)
        self.prune(retention, keep=name)

    def begin(self, retention: Retention) -> None:
        """Upload the newest snapshot of the local directory in the background; returns at once."""
        self._again.set()
        if not self._work.is_running:
            self._take_outcome()
            self._work.start(lambda: self._upload_newest(retention))

    def close(self, timeout_seconds: float | None = None) -> bool:
        """Wait for uploads, and return whether all are done; what failed is logged."""
        try:
            done = self._work.wait(timeout_seconds)
        except Exception as error:
            self._error = str(error)
            done = True
        if self._error:
            _log.warning("snapshots were not copied to %s: %s", self.storage, self.take_error())
        return done

    def take_error(self) -> str:
        """Why the last upload failed; "" when it did not, or when somebody was told already."""
        if not self._work.is_running:
            self._take_outcome()
        error, self._error = self._error, ""
        return error

    def _take_outcome(self) -> None:
        try:
            self._work.check()
        except (OSError, TfdmlError) as error:
            self._error = str(error)

    def _upload_newest(self, retention: Retention) -> None:
        while self._again.is_set():
            self._again.clear()
            snapshots = self._directory.listing().snapshots
            if not snapshots:
                return
            newest = snapshots[0]
            name = str(newest.name)
            try:
                for task in range(len(newest.parts)):
                    self.upload(name, part_name(task))
                self.finish(name, retention)
            except (OSError, TfdmlError):
                if self._directory.path.joinpath(name, MANIFEST).exists():
                    raise
                # It was removed while it was uploaded, because newer ones are there.

    # -- what is there

    def manifests(self) -> tuple[list[Manifest], dict[str, str]]:
        """Snapshots in the remote directory, newest first; and name -> what is wrong with those that are damaged."""
        found, damaged = [], {}
        for file in self.storage.names():
            name, _, last = file.partition("/")
            if parse_name(name) is None or last != MANIFEST:
                continue
            try:
                with found_damaged():
                    found.append(parse_manifest(self.storage.read_bytes(file), name))
            except Damaged as error:
                damaged[name] = str(error)
        found.sort(key=lambda each: each.number, reverse=True)
        self.highest_number = max([self.highest_number, *(each.number for each in found)])
        return found, damaged

    def fetch(self, name: str, file: str) -> None:
        """Bring one file of a snapshot to the local directory, over the one that is there."""
        target = self._directory.path / name / file
        with found_damaged():
            target.parent.mkdir(parents=True, exist_ok=True)
            self.storage.fetch(f"{name}/{file}", target)
            sync_directory(target.parent)

    def collect(self, name: SnapshotName, num_tasks: int) -> list[PartDigest]:
        """As `SnapshotDirectory.collect`, of the parts in the remote directory."""
        digests = []
        for task in range(num_tasks):
            file = f"{name}/{part_name(task)}"
            with found_damaged():
                size = self.storage.size(file)
                tail = self.storage.read_bytes(file, max(0, size - TAIL_BYTES), size)
                data_bytes, _ = tail_lengths(tail, size, file)
                if size - data_bytes > len(tail):
                    tail = self.storage.read_bytes(file, data_bytes, size)
                author, digest, _ = read_tail(tail, size, file)
            if (author.run, author.save, author.task) != (name.run, name.save, task):
                raise Damaged(f"{file} was written by another run of the job")
            digests.append(digest)
        return digests

    def prune(self, retention: Retention, keep: str = "") -> None:
        """Remove what need not be kept, and what has no manifest, but for the snapshot `keep`."""
        manifests, _ = self.manifests()
        names = {str(each.name) for each in retention.superfluous(manifests)}
        whole = {str(each.name) for each in manifests}
        present = {file.partition("/")[0] for file in self.storage.names()}
        names |= {name for name in present - whole if parse_name(name) is not None}
        for name in sorted(names - {keep}):
            self.remove(name)

    def remove(self, name: str) -> None:
        """Remove one snapshot, its manifest first."""
        self.storage.remove(f"{name}/{MANIFEST}")
        for file in self.storage.names():
            if file.startswith(f"{name}/"):
                self.storage.remove(file)

    def delete(self) -> None:
        """Remove all snapshots."""
        with contextlib.suppress(OSError, TfdmlError):
            self._work.wait()
        names = {file.partition("/")[0] for file in self.storage.names()}
        for name in sorted(names):
            if parse_name(name) is not None:
                self.remove(name)
