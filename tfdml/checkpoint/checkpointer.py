"""Write and read snapshots of model and optimizer so that a torn one is never used.

A snapshot is one file of raw bytes, variable after variable; for every task a file of what it alone has (NPZ), where
there is such a thing; and a manifest (JSON) that names the first file's SHA-256, what each variable is, and how many
tasks there were. All are written under a temporary name, flushed to the disk and renamed,
the manifest last: whatever moment a process is killed at, the manifest names a whole file.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfdml.checkpoint.position import Position
from tfdml.errors import DataError

_log = logging.getLogger("tfdml")
_VERSION = 1

Part = Mapping[str, np.ndarray]


class Checkpointer:
    """Keeps the newest snapshots in `directory`.

    Args:
        directory: on storage that every task sees.
        keep: how many snapshots to keep, at least 1.
    """

    def __init__(self, directory: str | os.PathLike[str], keep: int = 2):
        self.directory = Path(directory)
        self._keep = keep

    def save_part(self, part: Part, position: Position, task: int) -> None:
        """Write what task number `task` alone has; every task calls it, before the chief calls `save`.

        Raises:
            OSError: the storage is full or not writable; older snapshots stay as they were.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **part)
        _write(self.directory / f"{_stem(position)}.task{task}.npz", [buffer.getbuffer()])

    def save(self, model: keras.Model, position: Position, num_parts: int = 0) -> None:
        """Write a snapshot of which `num_parts` parts are there; call on the chief only.

        Raises:
            OSError: the storage is full or not writable; older snapshots stay as they were.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        arrays = [np.asarray(variable.numpy()) for variable in _variables(model)]
        stem = _stem(position)
        digest = _write(self.directory / f"{stem}.bin", [array.tobytes() for array in arrays])
        manifest = {
            "version": _VERSION,
            "position": asdict(position),
            "sha256": digest,
            "parts": num_parts,
            "variables": [
                {"path": variable.path, "dtype": variable.dtype, "shape": list(array.shape)}
                for variable, array in zip(_variables(model), arrays, strict=True)
            ],
        }
        _write(self.directory / f"{stem}.json", [json.dumps(manifest, indent=1).encode()])
        for old in self._manifests()[self._keep :]:
            _remove(old)

    def restore(self, model: keras.Model) -> tuple[Position, list[Part]] | None:
        """Load the newest whole snapshot into `model` (built, with its optimizer), on every task.

        Returns:
            Where to go on, and the parts of all tasks; or None when there is no snapshot. A damaged snapshot
            is passed over with a warning that names it.

        Raises:
            DataError: snapshots are there, but none is whole, or the newest is of another model.
        """
        manifests = self._manifests()
        for path in manifests:
            try:
                manifest = json.loads(path.read_bytes())
                data = path.with_suffix(".bin").read_bytes()
                if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
                    raise ValueError("its checksum does not fit")
                position = Position(**manifest["position"])
                parts = [_read_part(path, task) for task in range(manifest.get("parts", 0))]
            except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
                _log.warning("snapshot %s is damaged (%s); trying the one before", path, error)
                continue
            _load(model, manifest["variables"], data, path)
            return position, parts
        if manifests:
            raise DataError(
                f"{self.directory} holds {len(manifests)} snapshots and none is whole. "
                "Remove the directory to train from the beginning."
            )
        return None

    def delete(self) -> None:
        """Remove all snapshots; other files in the directory stay."""
        for path in self._manifests():
            _remove(path)

    def _manifests(self) -> list[Path]:
        """Newest first."""
        return sorted(self.directory.glob("snapshot-*.json"), reverse=True)


def _variables(model: keras.Model) -> list[keras.Variable]:
    optimizer: list[Any] = model.optimizer.variables if model.optimizer is not None else []
    return [*model.variables, *optimizer]


def _stem(position: Position) -> str:
    return f"snapshot-{position.global_step:012d}"


def _remove(manifest: Path) -> None:
    """The manifest first: without it the rest is no snapshot."""
    manifest.unlink(missing_ok=True)
    for file in manifest.parent.glob(f"{manifest.stem}.*"):
        file.unlink(missing_ok=True)


def _read_part(manifest: Path, task: int) -> Part:
    with np.load(manifest.with_suffix(f".task{task}.npz"), allow_pickle=False) as part:
        return dict(part)  # Reads everything, and checks the CRC of every array.


def _write(path: Path, parts: Sequence[bytes | memoryview]) -> str:
    """Write `parts` so that `path` is whole or absent; return the SHA-256."""
    digest = hashlib.sha256()
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            for part in parts:
                file.write(part)
                digest.update(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return digest.hexdigest()


def _load(model: keras.Model, specs: list[dict[str, Any]], data: bytes, path: Path) -> None:
    variables = _variables(model)
    for number, variable in enumerate(variables):
        spec = specs[number] if number < len(specs) else {"path": "none", "dtype": "", "shape": []}
        own = (variable.dtype, list(variable.shape))
        if own != (spec["dtype"], spec["shape"]):
            raise DataError(
                f"snapshot {path} is of another model: variable {number} is '{variable.path}' "
                f"{own[0]}{own[1]} here and '{spec['path']}' {spec['dtype']}{spec['shape']} there. "
                "Use the model that was trained, or another directory."
            )
    if len(specs) != len(variables):
        raise DataError(
            f"snapshot {path} is of another model: it has {len(specs)} variables, this one {len(variables)}. "
            "Use the model that was trained, or another directory."
        )
    offset = 0
    for variable in variables:
        dtype = keras.ops.convert_to_numpy(keras.ops.zeros((), variable.dtype)).dtype
        count = int(np.prod(variable.shape, dtype=np.int64))
        array = np.frombuffer(data, dtype, count, offset).reshape(variable.shape)
        variable.assign(array)
        offset += array.nbytes
