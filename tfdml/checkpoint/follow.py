"""The weights of each new snapshot of a job that goes on, for a task beside it that evaluates them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfdml.checkpoint.directory import SnapshotDirectory
from tfdml.checkpoint.position import Position
from tfdml.checkpoint.weights import load_weights
from tfdml.errors import ConfigError, DataError
from tfdml.storage import is_remote, storage_for


def follow(
    model: Any,
    directory: str | os.PathLike[str],
    *,
    poll_seconds: float = 5.0,
    timeout_seconds: float | None = None,
) -> Iterator[Position]:
    """Set the weights of `model` (built) to those of one new snapshot after the other, and yield where each stood.

    What came while the last one was evaluated is passed over, but for the newest. The directory may come later, too.

    Args:
        directory: that was given to BackupAndRestore, on storage that this task sees; no URL.
        poll_seconds: between looks.
        timeout_seconds: end after so long without a new one; None never does, and whoever started this task ends it.

    Raises:
        ConfigError: a URL, or a time that is not positive.
        DataError: a snapshot is of another model.
    """
    if is_remote(directory):
        raise ConfigError(
            f"`directory` must be on storage that this task sees, got the URL {os.fspath(directory)!r}. "
            "Follow the local directory of the snapshots."
        )
    for name, value in (("poll_seconds", poll_seconds), ("timeout_seconds", timeout_seconds)):
        if value is not None and value <= 0:
            raise ConfigError(f"`{name}` must be positive, got {value!r}.")
    snapshots = SnapshotDirectory(Path(storage_for(directory).url))
    last, seen_at = 0, time.monotonic()
    while True:
        newest = next(iter(snapshots.listing().snapshots), None)
        if newest is not None and newest.number > last:
            last, seen_at = newest.number, time.monotonic()
            try:
                yield load_weights(model, snapshots.path / str(newest.name))
            except DataError:
                if (snapshots.path / str(newest.name)).is_dir():
                    raise
                # Removed while it was read, because newer ones are there.
            continue
        if timeout_seconds is not None and time.monotonic() - seen_at >= timeout_seconds:
            return
        time.sleep(poll_seconds)
