"""A directory behind a URL, through fsspec: bounded waiting, retries with back-off, whole files only.

A place that never answered is given up after a few attempts, so that a mistyped address is told in
seconds. One that did answer gets PATIENCE_SECONDS, so that a link may go down for a while in the
middle of a run.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from tfdml.errors import DataError
from tfdml.shared_files import appears_when_whole
from tfdml.storage.remote_connection import HTTP, connect
from tfdml.storage.remote_errors import is_missing_file, is_passing, shown, told
from tfdml.storage.storage import Storage, checked_name

Result = TypeVar("Result")

_ANSWER_SECONDS = 60.0  # an operation without data
_SLOWEST_BYTES_PER_SECOND = 128 * 1024  # data may take this long in addition
PATIENCE_SECONDS = 120.0  # a place that has answered before may be silent or failing for so long
_FIRST_ATTEMPTS = 3  # while the place has never answered
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 10.0  # between attempts, doubling
_LARGE_BYTES = 2**28
PIECE_BYTES = 16 * 1024 * 1024  # a file is fetched in ranges, each of which is retried by itself

# A file put at once into these appears whole; into others it is moved to its name afterwards.
_OBJECT_STORES = HTTP | {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "oss", "memory"}


class RemoteStorage(Storage):
    """A directory of files behind `url`."""

    is_local = False

    def __init__(self, url: str):
        self._url = url
        self.url = shown(url).rstrip("/")
        self.protocol = url.partition("://")[0].rpartition("::")[2].lower()

    def names(self) -> list[str]:
        fs, root, _ = self._connection()
        top = root + "/" if self.protocol in HTTP else root

        found = self._ask("", lambda: _find(fs, top))
        names = {unquote(path) if self.protocol in HTTP else path for path in found}
        inside = [path[len(root) :].lstrip("/") for path in names if path.startswith(root + "/")]
        return sorted(n for n in inside if n and not any(p.startswith(".") for p in n.split("/")))

    def exists(self, name: str) -> bool:
        try:
            return self._info(name).get("type") == "file"
        except FileNotFoundError:
            return False

    def size(self, name: str) -> int:
        return int(self._facts(name)["size"])

    def version(self, name: str) -> str:
        return _version_of(self._facts(name))

    def read_bytes(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        fs, path = self._connection()[0], self._path(name)
        if stop is None and self.protocol in HTTP:  # which may not know the size
            data: bytes = self._ask(name, lambda: fs.cat_file(path), num_bytes=_LARGE_BYTES)
            return data[start:]
        stop = self.size(name) if stop is None else stop
        if stop <= start:
            return b""
        data = self._ask(
            name, lambda: fs.cat_file(path, start=start, end=stop), num_bytes=stop - start
        )
        # A web server that knows no ranges sends all of it.
        return data[start:stop] if len(data) > stop - start else data

    def write_bytes(self, name: str, data: bytes) -> None:
        fs = self._connection()[0]
        self._put(name, len(data), lambda path: fs.pipe_file(path, data))

    def fetch(self, name: str, local_path: str | os.PathLike[str]) -> None:
        with appears_when_whole(local_path) as temporary:
            self.fetch_into(name, temporary)

    def fetch_into(self, name: str, local_path: str | os.PathLike[str]) -> None:
        fs = self._connection()[0]
        path, facts = self._path(name), self._facts(name)
        size = int(facts["size"])
        if self.protocol in HTTP and facts.get("partial") is not True:
            fetch = lambda: fs.get_file(path, os.fspath(local_path))
            self._ask(name, fetch, num_bytes=size, is_pure=False)
        else:
            with open(local_path, "wb") as file:
                for start in range(0, size, PIECE_BYTES):
                    file.write(self.read_bytes(name, start, min(start + PIECE_BYTES, size)))
        if size > PIECE_BYTES and self.version(name) != _version_of(facts):
            raise DataError(f"{self.location(name)}: it changed while it was fetched. Run again.")
        found = os.path.getsize(local_path)
        if found != size:
            raise DataError(
                f"{self.location(name)}: {found:,} bytes arrived of {size:,}. Run again."
            )

    def publish(self, local_path: str | os.PathLike[str], name: str) -> None:
        fs = self._connection()[0]
        size = os.path.getsize(local_path)
        self._put(name, size, lambda path: fs.put_file(os.fspath(local_path), path))
        os.unlink(local_path)

    def remove(self, name: str) -> None:
        fs, path = self._connection()[0], self._path(name)

        def remove() -> None:
            with contextlib.suppress(FileNotFoundError):
                fs.rm_file(path)

        self._ask(name, remove)

    def _put(self, name: str, num_bytes: int, put: Callable[[str], Any]) -> None:
        fs, path = self._connection()[0], self._path(name)
        if self.protocol in HTTP:
            raise DataError(f"{self.location(name)}: {self.protocol}:// can only be read.")

        def whole() -> None:
            if self.protocol in _OBJECT_STORES:
                put(path)
                return
            parent, _, last = path.rpartition("/")
            fs.makedirs(parent, exist_ok=True)
            partial = f"{parent}/.{last}.{os.getpid()}.partial"
            put(partial)
            if fs.exists(path):
                fs.rm_file(path)  # HDFS and SFTP do not rename over a file
            fs.mv(partial, path)

        self._ask(name, whole, num_bytes=num_bytes)

    def _facts(self, name: str) -> dict[str, Any]:
        """fsspec's info of a file, whose size is known."""
        try:
            facts = self._info(name)
        except FileNotFoundError:
            facts = {}
        if facts.get("type") != "file":
            raise DataError(f"{self.location(name)}: no such file.")
        if facts.get("size") is None:
            raise DataError(f"{self.location(name)}: the server does not say its size.")
        return facts

    def _info(self, name: str) -> dict[str, Any]:
        fs, path = self._connection()[0], self._path(name)

        def info() -> dict[str, Any] | None:
            fs.invalidate_cache()
            try:
                return dict(fs.info(path))
            except FileNotFoundError as error:
                if not is_missing_file(error):
                    raise
                return None

        facts = self._ask(name, info)
        if facts is None:
            raise FileNotFoundError(name)
        return facts

    def _path(self, name: str) -> str:
        _, root, query = self._connection()
        name = checked_name(name)
        return f"{root}/{quote(name) if self.protocol in HTTP else name}{query}"

    def _connection(self) -> tuple[Any, str, str]:
        """See `connect`."""
        return connect(self._url, self.protocol, self.url, os.getpid())

    def _ask(
        self,
        name: str,
        operation: Callable[[], Result],
        num_bytes: int = 0,
        is_pure: bool = True,
    ) -> Result:
        """The operation's result; retried while another attempt may help and patience lasts.

        Args:
            num_bytes: that it moves.
            is_pure: another attempt may begin while one hangs.
        """
        limit = _ANSWER_SECONDS + num_bytes / _SLOWEST_BYTES_PER_SECOND
        give_up = time.monotonic() + PATIENCE_SECONDS
        attempts, pause = 0, _FIRST_PAUSE_SECONDS
        while True:
            attempts += 1
            try:
                result = _within(limit, operation)
            except Exception as error:
                known = self._url in _answered
                hopeless = attempts >= _FIRST_ATTEMPTS and not known
                hangs = isinstance(error, _Hangs) and not is_pure
                if not is_passing(error) or hopeless or hangs or time.monotonic() + pause > give_up:
                    raise told(error, self.location(name), self._url) from None
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                _answered.add(self._url)
                return result


_answered: set[str] = set()  # URLs that have answered this process


def _find(fs: Any, top: str) -> list[str]:
    fs.invalidate_cache()
    try:
        # Some file systems' `find` takes every failure for an empty directory; their `ls` says what it is.
        return list(fs.find(top)) or (fs.ls(top, detail=False) and [])
    except FileNotFoundError as error:
        if not is_missing_file(error):
            raise
        return []


def _version_of(facts: dict[str, Any]) -> str:
    for key in ("ETag", "etag", "md5Hash", "content_md5", "checksum", "generation", "mtime"):
        if facts.get(key):
            return f"{facts['size']}-{facts[key]}".replace('"', "")
    for key in ("LastModified", "last_modified", "updated", "modified", "created"):
        if facts.get(key):
            return f"{facts['size']}-{facts[key]}"
    return f"{facts['size']}"


class _Hangs(TimeoutError):
    """The operation goes on in its thread."""


def _within(seconds: float, operation: Callable[[], Result]) -> Result:
    """The result of `operation`, or TimeoutError; a thread that hangs in it does not hold up the end of Python."""
    outcome: list[tuple[bool, Any]] = []

    def work() -> None:
        try:
            outcome.append((True, operation()))
        except BaseException as error:
            outcome.append((False, error))

    thread = threading.Thread(target=work, daemon=True, name="tfdml-remote")
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise _Hangs(f"no answer within {seconds:.0f} s")
    succeeded, value = outcome[0]
    if not succeeded:
        raise value
    return value  # type: ignore[no-any-return]
