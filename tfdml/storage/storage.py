"""One directory of files, on this machine or behind any URL that fsspec knows, with the same few operations.

`storage_for("shards")` and `storage_for("s3://bucket/shards")` give a Storage. Names are relative, with
"/" between their parts. A file that is written appears under its name only when it is whole. Failures
are a `DataError` or `ConfigError` of one sentence that names the place, never its credentials.

A Storage is small, holds no connection and can be pickled; no TensorFlow here.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tfdml.errors import DataError
from tfdml.shared_files import appears_when_whole

_URL = re.compile(r"(?P<protocol>[A-Za-z][A-Za-z0-9+.\-]*)(::.*)?://(?P<rest>.*)", re.DOTALL)
_LOCAL_PROTOCOLS = ("file", "local")


class Storage(ABC):
    """A directory of files.

    Attributes:
        url: what messages call it: a path, or a URL without user names, passwords and query.
        is_local: its files are files of this machine, and `local_path` gives them without a copy.
    """

    url: str
    is_local: bool

    @abstractmethod
    def names(self) -> list[str]:
        """Names of all files below the directory, sorted; hidden ones (a part begins with ".") are left out.

        A directory that does not exist has no files: object stores know no other kind.
        """

    @abstractmethod
    def exists(self, name: str) -> bool: ...

    @abstractmethod
    def size(self, name: str) -> int:
        """Bytes of one file."""

    @abstractmethod
    def version(self, name: str) -> str:
        """A short text that changes when the file's content does: its size with its ETag, checksum or time."""

    @abstractmethod
    def read_bytes(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes [start, stop) of one file; fewer where the file ends before `stop`."""

    def read_if_there(self, name: str) -> bytes | None:
        """All of one file, or None where there is none."""
        return self.read_bytes(name) if self.exists(name) else None

    @abstractmethod
    def write_bytes(self, name: str, data: bytes) -> None: ...

    @abstractmethod
    def fetch(self, name: str, local_path: str | os.PathLike[str]) -> None:
        """Copy one file to `local_path`, where it appears when it is whole."""

    @abstractmethod
    def fetch_into(self, name: str, local_path: str | os.PathLike[str]) -> None:
        """Copy one file to `local_path` at once: after a failure a part of it may be there."""

    @abstractmethod
    def publish(self, local_path: str | os.PathLike[str], name: str) -> None:
        """Move the file `local_path` to `name`; it is gone from `local_path` afterwards."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove one file; nothing happens where there is none."""

    def local_path(self, name: str) -> Path | None:
        """Where a file of a local directory lies; None for a remote one, whose files must be fetched."""
        return None

    def location(self, name: str) -> str:
        """What messages call one file."""
        return f"{self.url.rstrip('/')}/{name}" if name else self.url

    def __str__(self) -> str:
        return self.url


class LocalStorage(Storage):
    is_local = True

    def __init__(self, directory: str | os.PathLike[str]):
        self.url = os.fspath(directory)
        self._directory = Path(directory)

    def names(self) -> list[str]:
        found = []
        with _told(self.url):
            if self._directory.exists() and not self._directory.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "not a directory")
            for parent, directories, files in os.walk(self._directory):
                directories[:] = [each for each in directories if not each.startswith(".")]
                inside = Path(parent).relative_to(self._directory)
                found += [(inside / each).as_posix() for each in files if not each.startswith(".")]
        return sorted(found)

    def exists(self, name: str) -> bool:
        return self._path(name).is_file()

    def size(self, name: str) -> int:
        with _told(self.location(name)):
            return self._path(name).stat().st_size

    def version(self, name: str) -> str:
        with _told(self.location(name)):
            status = self._path(name).stat()
        return f"{status.st_size}-{status.st_mtime_ns}"

    def read_bytes(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        with _told(self.location(name)), self._path(name).open("rb") as file:
            file.seek(start)
            return file.read() if stop is None else file.read(max(0, stop - start))

    def write_bytes(self, name: str, data: bytes) -> None:
        with (
            _told(self.location(name)),
            appears_when_whole(self._path(name)) as temporary,
        ):
            temporary.write_bytes(data)

    def fetch(self, name: str, local_path: str | os.PathLike[str]) -> None:
        with _told(self.location(name)), appears_when_whole(local_path) as temporary:
            shutil.copyfile(self._path(name), temporary)

    def fetch_into(self, name: str, local_path: str | os.PathLike[str]) -> None:
        with _told(self.location(name)):
            shutil.copyfile(self._path(name), local_path)

    def publish(self, local_path: str | os.PathLike[str], name: str) -> None:
        source, target = Path(local_path), self._path(name)
        with _told(self.location(name)):
            target.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as file:
                os.fsync(file.fileno())
            try:
                source.replace(target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                with appears_when_whole(target) as temporary:
                    shutil.copyfile(source, temporary)
                source.unlink()

    def remove(self, name: str) -> None:
        with _told(self.location(name)):
            self._path(name).unlink(missing_ok=True)

    def local_path(self, name: str) -> Path:
        return self._path(name)

    def _path(self, name: str) -> Path:
        return self._directory / checked_name(name)


def storage_for(url: str | os.PathLike[str]) -> Storage:
    """The directory `url`: a path, `file://...`, or a URL such as s3://, gs://, abfs://, hdfs://, http://, memory://.

    Options of a remote file system (end point, region, anonymous access) are those of fsspec: its
    configuration files and FSSPEC_* environment variables; docs/data-remote.md lists the useful ones.

    Raises:
        ConfigError: when the protocol is unknown, or the package that speaks it is not installed.
    """
    text = os.fspath(url)
    match = _URL.fullmatch(text)
    if match is None:
        return LocalStorage(text)
    if match["protocol"].lower() in _LOCAL_PROTOCOLS:
        return LocalStorage(match["rest"])
    from tfdml.storage.remote_storage import (
        RemoteStorage,  # fsspec takes 0.1 s that local paths save
    )

    return RemoteStorage(text)


def is_remote(url: str | os.PathLike[str]) -> bool:
    """True for a URL whose files are not files of this machine."""
    match = _URL.fullmatch(os.fspath(url))
    return match is not None and match["protocol"].lower() not in _LOCAL_PROTOCOLS


def checked_name(name: str) -> str:
    """`name`, when it stays inside the directory: a manifest from elsewhere must not name other files."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts:
        raise DataError(
            f"{name!r} does not name a file inside a data directory: names are relative, without '..'."
        )
    return name


@contextmanager
def _told(location: str) -> Iterator[None]:
    """Turn errors of the operating system into one sentence with the place."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{location}: no such file.") from None
    except OSError as error:
        remedy = " Free some space and run again." if error.errno == errno.ENOSPC else ""
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{location}: {reason}.{remedy}") from None
