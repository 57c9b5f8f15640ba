"""A directory behind a URL, through fsspec: bounded waiting, retries with back-off, whole files only.

A place that never answered is given up after a few attempts, so that a mistyped address is told in
seconds. One that did answer gets PATIENCE_SECONDS, so that a link may go down for a while in the
middle of a run.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, unquote

import fsspec
from fsspec.config import conf

from tfdml.data.remote_errors import is_missing_file, is_passing, shown, told
from tfdml.data.storage import Storage, checked_name
from tfdml.errors import ConfigError, DataError
from tfdml.shared_files import appears_when_whole

Result = TypeVar("Result")

_ANSWER_SECONDS = 60.0  # an operation without data
_SLOWEST_BYTES_PER_SECOND = 128 * 1024  # data may take this long in addition
PATIENCE_SECONDS = 120.0  # a place that has answered before may be silent or failing for so long
_FIRST_ATTEMPTS = 3  # while the place has never answered
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 10.0  # between attempts, doubling
PIECE_BYTES = 16 * 1024 * 1024  # a file is fetched in ranges, each of which is retried by itself

# A file put at once into these appears whole; into others it is moved to its name afterwards.
_HTTP = frozenset(("http", "https"))
_OBJECT_STORES = _HTTP | {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "oss", "memory"}


class RemoteStorage(Storage):
    """A directory of files behind `url`."""

    is_local = False

    def __init__(self, url: str):
        self._url = url
        self.url = shown(url).rstrip("/")
        self.protocol = url.partition("://")[0].rpartition("::")[2].lower()

    def names(self) -> list[str]:
        fs, root, _ = self._connection()
        top = root + "/" if self.protocol in _HTTP else root

        found = self._ask("", lambda: _find(fs, top))
        names = {unquote(path) if self.protocol in _HTTP else path for path in found}
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
        if stop is not None and stop <= start:
            return b""
        fs = self._connection()[0]
        path = self._path(name)
        whole = start == 0 and stop is None

        def read() -> bytes:
            return fs.cat_file(path) if whole else fs.cat_file(path, start=start, end=stop)

        data: bytes = self._ask(name, read, num_bytes=(stop or 2**30) - start)
        if stop is not None and len(data) > stop - start:
            return data[start:stop]  # a web server that knows no ranges sent all of it
        return data

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
        if self.protocol in _HTTP and facts.get("partial") is not True:
            self._ask(name, lambda: fs.get_file(path, os.fspath(local_path)), num_bytes=size)
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
        if self.protocol in _HTTP:
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
        return f"{root}/{quote(name) if self.protocol in _HTTP else name}{query}"

    def _connection(self) -> tuple[Any, str, str]:
        """(file system, path of the directory, query that goes behind every name)."""
        return _connect(self._url, self.protocol, self.url, os.getpid())

    def _ask(self, name: str, operation: Callable[[], Result], num_bytes: int = 0) -> Result:
        """The operation's result; retried while another attempt may help and patience lasts."""
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
                if not is_passing(error) or hopeless or time.monotonic() + pause > give_up:
                    raise told(error, self.location(name), self._url) from None
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                _answered.add(self._url)
                return result


_answered: set[str] = set()  # URLs that have answered this process


@functools.lru_cache(maxsize=64)
def _connect(url: str, protocol: str, location: str, process: int) -> tuple[Any, str, str]:
    """One file system a URL and process: fsspec's asynchronous ones do not survive a fork."""
    query = ""
    if protocol in _HTTP and "?" in url:
        url, _, query = url.partition("?")
        query = "?" + query
    try:
        fs, root = fsspec.core.url_to_fs(url, **_options(url, protocol))
    except ImportError as error:
        raise told(error, location, url) from None
    except Exception as error:
        if "rotocol not known" in str(error):
            known = ", ".join(sorted(fsspec.available_protocols()))
            raise ConfigError(
                f"{location}: fsspec knows no protocol {protocol!r}; it knows {known}."
            ) from None
        raise told(error, location, url) from None
    if isinstance(getattr(fs, "retries", None), int):
        fs.retries = 1  # s3fs and gcsfs: five rounds of their own inside each of ours would make minutes of seconds
    return fs, root.rstrip("/"), query


def _options(url: str, protocol: str) -> dict[str, Any]:
    """Our time limits, where the user's fsspec configuration does not set the same option."""
    if "::" in url:
        return {}
    options: dict[str, Any] = {"skip_instance_cache": True}
    if protocol in ("s3", "s3a"):
        limits = {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 1}}
        options["config_kwargs"] = limits
    if protocol in _HTTP:
        import aiohttp

        # aiohttp's own limit is five minutes for a whole file, however well it flows.
        patience = aiohttp.ClientTimeout(total=None, connect=10, sock_read=30)
        options["client_kwargs"] = {"timeout": patience}
    return {k: v for k, v in options.items() if k not in conf.get(protocol, {})}


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
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    succeeded, value = outcome[0]
    if not succeeded:
        raise value
    return value  # type: ignore[no-any-return]
