"""The weights of a snapshot in a plain Keras model: for evaluation, export and fine-tuning, without a Trainer."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from tfdml.checkpoint.directory import SnapshotDirectory
from tfdml.checkpoint.manifest import parse_name
from tfdml.checkpoint.mirror import Mirror
from tfdml.checkpoint.position import Position
from tfdml.checkpoint.restorer import Restorer
from tfdml.checkpoint.shared_check import alone
from tfdml.errors import DataError
from tfdml.storage import is_remote, storage_for


def load_weights(model: Any, path: str | os.PathLike[str]) -> Position:
    """Set the weights of `model` (a built Keras model) to those of a snapshot; nothing else of it changes.

    Args:
        path: of the directory that a job saves to, whose newest whole snapshot is taken; or of one snapshot in it; or
            the URL of such a directory.

    Returns:
        Where training stood.

    Raises:
        DataError: there is no whole snapshot, or it is of another model: names the first variable that differs.
    """
    text = os.fspath(path).rstrip("/")
    if is_remote(text):
        with tempfile.TemporaryDirectory(prefix="tfdml-weights-") as folder:
            directory = SnapshotDirectory(Path(folder))
            return _load(model, directory, Mirror(directory, storage_for(text)), text)
    local = Path(storage_for(text).url)
    only = local.name if parse_name(local.name) else ""
    return _load(model, SnapshotDirectory(local.parent if only else local), None, text, only)


def _load(
    model: Any, directory: SnapshotDirectory, mirror: Mirror | None, text: str, only: str = ""
) -> Position:
    restored = Restorer(directory, mirror, 0, 1, alone, only=only).restore()
    if restored is None:
        raise DataError(
            f"{text} holds no snapshot. Give the directory that was passed to BackupAndRestore."
        )
    restored.load_weights(model)
    return restored.position
