"""What an unfinished conversion remembers: its settings, and which of its parts are whole.

    <output_dir>/.conversion/     or, for a remote output, a directory below `temp_dir` or the user's cache
        conversion.json           settings and input digest: only the same conversion may go on
        layout.pickle             what the first passes found; how records are shared out
        pass-0/00017.pickle       what the first pass found in fragment 17
        map/00017.spill           fragment 17, converted (below `temp_dir` if that is given)
        shards/NAME.pickle        that shard is in its place, with its figures
        tmp/                      what is being written

A file appears under its name only when it is whole, so a part is finished when its file is there. Spill
files are not flushed to the disk, which a kill survives but a power failure may not: after a restart of
the machine they are made again. Shards are flushed before they get their names.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import pickle
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfdml.data.conversion.identity import check_same, describe
from tfdml.data.conversion.records import Tally
from tfdml.data.conversion.request import Conversion, input_digest
from tfdml.data.format.dataset_manifest import FILE_NAME, DatasetManifest, Shard
from tfdml.data.format.index import DIRECTORY as INDEX_DIRECTORY
from tfdml.errors import DataError
from tfdml.storage import is_remote, storage_for
from tfdml.version import __version__

DIRECTORY = ".conversion"

_SETTINGS = "conversion.json"
_LAYOUT = "layout.pickle"
_LOCK = "lock"
_WAIT_FOR_LOCK_SECONDS = 10.0
# Only a data set has files of these names; others may lie beside one.
_DATA_SET_FILES = ("manifest.json", "dataset_info.json", "features.json")


@dataclass(frozen=True)
class State:
    """Paths of one conversion. `lock` is the open file that keeps other processes out."""

    directory: Path
    spills: Path
    lock: int

    def temporary(self, name: str) -> Path:
        return self.directory / "tmp" / f"{name}.{os.getpid()}"

    def spill(self, fragment: int) -> Path:
        return self.spills / f"{fragment:05d}.spill"

    def spill_temporary(self, fragment: int) -> Path:
        return self.spills / "tmp" / f"{fragment:05d}.{os.getpid()}"

    def of_pass(self, number: int, fragment: int) -> Path:
        return self.directory / f"pass-{number}" / f"{fragment:05d}.pickle"

    def receipt(self, shard: str) -> Path:
        return self.directory / "shards" / f"{shard}.pickle"

    def errors(self, fragment: int) -> Path:
        return self.directory / "errors" / f"{fragment:05d}.jsonl"

    @property
    def quarantine(self) -> Path:
        return self.directory / "quarantine"

    def write_receipt(self, shard: Shard, tally: Tally) -> None:
        self.write_pickle(self.receipt(shard.file), (shard, tally))

    def read_receipt(self, file: str) -> tuple[Shard, Tally] | None:
        """The figures of a shard that is in its place; None for one that is not."""
        path = self.receipt(file)
        return read_pickle(path) if path.exists() else None

    def has_finished_parts(self) -> bool:
        """Whether there is anything that another run could go on from."""
        places = (self.spills, self.directory / "shards", *self.directory.glob("pass-*"))
        return any(
            path.suffix in (".spill", ".pickle") for place in places for path in place.glob("*")
        )

    def forget_shards(self) -> None:
        """All shards will be written again."""
        shutil.rmtree(self.directory / "shards", ignore_errors=True)

    def num_receipts(self) -> int:
        return len(list((self.directory / "shards").glob("*.pickle")))

    @property
    def layout(self) -> Path:
        return self.directory / _LAYOUT

    def write(self, path: Path, data: bytes) -> None:
        """Write `path`, whole or not at all, in a way that survives a kill."""
        temporary = self.temporary(path.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def write_pickle(self, path: Path, value: Any) -> None:
        self.write(path, pickle.dumps(value, protocol=5))

    def clear_temporary(self) -> None:
        """Remove what killed processes were writing."""
        for directory in (self.directory / "tmp", self.spills / "tmp"):
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        """Remove all of it: the conversion is finished, or can never be."""
        shutil.rmtree(self.spills, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)


def read_pickle(path: Path) -> Any:
    return pickle.loads(path.read_bytes())


@contextmanager
def open_state(request: Conversion) -> Iterator[State]:
    """The state of this conversion, new or as an earlier run left it, locked.

    Raises:
        DataError: when the output holds another data set, another conversion is unfinished there, or
            another process is at it.
    """
    directory, spills = _places(request)
    known = describe(request)
    if not (directory / _SETTINGS).exists():
        refuse_other_data(request.output_dir)
    existed = is_remote(request.output_dir) or Path(request.output_dir).exists()
    for place in (spills, directory):  # the output last, so that nothing is left in it
        _try_to_write(place)
    with _locked(directory, request.output_dir) as lock:
        state = State(directory, spills, lock)
        state.clear_temporary()
        settings = directory / _SETTINGS
        if settings.exists():
            _clear_partial(request.output_dir)
            before = json.loads(settings.read_text(encoding="utf-8"))
            if state.has_finished_parts():
                check_same(before, known, request.output_dir, directory)
            else:
                state.layout.unlink(missing_ok=True)
            if before.get("boot") != known["boot"]:
                shutil.rmtree(spills, ignore_errors=True)
                state.clear_temporary()
        state.write(settings, json.dumps(known, indent=2).encode())
        try:
            yield state
        finally:
            if not existed and not directory.exists():
                _remove_empty(Path(request.output_dir))


def _clear_partial(output_dir: str) -> None:
    """Remove what a killed process was writing beside the shards; files behind URLs appear at once or not at all."""
    if not is_remote(output_dir):
        for pattern in (".*.partial", f"{INDEX_DIRECTORY}/.*.partial"):
            for left in Path(storage_for(output_dir).url).glob(pattern):
                left.unlink(missing_ok=True)


def refuse_other_data(output_dir: str) -> None:
    """Raises DataError where a data set is already."""
    storage = storage_for(output_dir)
    for name in storage.names():
        if name in _DATA_SET_FILES or ".tfrecord" in name:
            raise DataError(
                f"{output_dir} holds a data set already ({name} is there). Choose another directory, or "
                "remove that one."
            )


def finished_before(request: Conversion) -> DatasetManifest | None:
    """The manifest of the output, if this very conversion wrote it."""
    storage = storage_for(request.output_dir)
    if not storage.exists(FILE_NAME):
        return None
    try:
        manifest = DatasetManifest.from_bytes(
            storage.read_bytes(FILE_NAME), storage.location(FILE_NAME)
        )
    except DataError:
        return None  # an older or a damaged one, of which `refuse_other_data` speaks
    flags = {name: value for name, value in manifest.flags.items() if name != "stages"}
    same = (flags, manifest.input_digest, manifest.tool_version) == (
        request.settings(),
        input_digest(request.input.files, versions=False),
        __version__,
    )
    if not same:
        return None
    directory, spills = _places(request)
    State(directory, spills, -1).remove()  # what a kill after the last step has left
    return manifest


def _places(request: Conversion) -> tuple[Path, Path]:
    """The directory of the state, and that of the spill files."""
    own = hashlib.sha256(os.path.abspath(request.output_dir).encode()).hexdigest()[:12]
    if is_remote(request.output_dir):
        own = hashlib.sha256(request.output_dir.encode()).hexdigest()[:12]
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        base = request.temp_dir or cache / "tfdml" / "conversions"
        directory = base / f"conversion-{own}"
        return directory, directory / "map"
    directory = Path(request.output_dir) / DIRECTORY
    return (
        directory,
        request.temp_dir / f"conversion-{own}" if request.temp_dir else directory / "map",
    )


def _try_to_write(directory: Path) -> None:
    """Raises DataError where the state cannot be written at all."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f"probe.{os.getpid()}"
        probe.write_bytes(bytes(4096))
        probe.unlink()
    except OSError as error:
        raise DataError(
            f"{directory} cannot be written ({(error.strerror or str(error)).lower()}). "
            f"{'Free some space' if error.errno == errno.ENOSPC else 'Choose another directory'}, and run it again."
        ) from None


@contextmanager
def _locked(directory: Path, output_dir: str) -> Iterator[int]:
    """Hold the lock; workers inherit the open file, so it is free when the last of them has ended."""
    path = directory / _LOCK
    deadline = time.monotonic() + _WAIT_FOR_LOCK_SECONDS
    while True:
        directory.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                break
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(file)
                raise DataError(
                    f"Another process is converting into {output_dir}. Wait for it, or choose another "
                    "directory."
                ) from None
        os.close(file)
        time.sleep(0.05)
    try:
        yield file
    finally:
        os.close(file)


def _remove_empty(directory: Path) -> None:
    """Leave no empty directory behind where nothing was written."""
    with suppress(OSError):
        directory.rmdir()
