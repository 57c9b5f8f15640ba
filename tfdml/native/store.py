"""Where built libraries are kept: the cache directory, a digest beside each library, remembered failures.

A library `x.so` has `x.so.sha256` beside it. The digest is written first, the library last, each in one
piece: a library that does not match is damaged, or just being replaced by the process that has the lock.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tfdml.errors import NativeOpsError
from tfdml.shared_files import appears_when_whole, one_process_at_a_time

# A failed build is not tried again for this long: many workers start at once, each wants the library,
# and one of them having waited for the compiler is enough.
REMEMBER_FAILURE_SECONDS = 600.0

_SECONDS_BEFORE_NOTICE = 5.0
_REMEDY = "Set XDG_CACHE_HOME to a directory of yours that can be written."

_log = logging.getLogger("tfdml")


def cache_directory() -> Path:
    """`tfdml` in $XDG_CACHE_HOME or ~/.cache, made if need be, closed to other users.

    What lies in it is loaded into the process, so nobody else may be able to put something there.

    Raises:
        NativeOpsError: it cannot be made, or it is another user's.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # The specification of XDG_CACHE_HOME says that a relative path is to be ignored.
        directory = (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "tfdml"
    except RuntimeError as error:
        raise NativeOpsError(
            f"This user has no home directory in which to keep the native ops. {_REMEDY}"
        ) from error
    with writing_to(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.stat()
    if status.st_uid != os.geteuid():
        raise NativeOpsError(
            f"The cache directory {directory} belongs to user {status.st_uid}, not to this one "
            f"({os.geteuid()}), so no library is loaded from it. {_REMEDY}"
        )
    if status.st_mode & 0o077:
        with suppress(OSError):  # On a file system that is read-only, say.
            directory.chmod(0o700)
        if directory.stat().st_mode & 0o022:
            raise NativeOpsError(
                f"The cache directory {directory} can be written by other users and its mode cannot be "
                f"changed, so no library is loaded from it. {_REMEDY}"
            )
    return directory


@contextmanager
def writing_to(directory: Path) -> Iterator[None]:
    """Turns an `OSError` into the one sentence that says what to do about it."""
    try:
        yield
    except OSError as error:
        raise NativeOpsError(
            f"The native ops cannot be kept in {directory}: {error.strerror or error}. It must be a "
            "directory that this user can write; XDG_CACHE_HOME says where the cache is."
        ) from error


@contextmanager
def lock(library: Path) -> Iterator[None]:
    """Keep other processes from building `library`; wait for one that does.

    The kernel drops the lock when its holder dies, however that happens.
    """
    path = library.with_suffix(".lock")
    notice = threading.Timer(
        _SECONDS_BEFORE_NOTICE,
        lambda: _log.warning(
            "waiting for another process that builds the native ops (%s is locked)", path
        ),
    )
    notice.daemon = True
    notice.start()
    with ExitStack() as held:
        try:
            with writing_to(path.parent):
                held.enter_context(one_process_at_a_time(path))
        finally:
            notice.cancel()
        yield


def digest_of(library: Path) -> str:
    """The sha256 of a file."""
    with library.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_intact(library: Path) -> bool:
    """Whether the library is there and what was once written."""
    try:
        return _sidecar(library).read_bytes() == digest_of(library).encode()
    except OSError:
        return False


def publish(built: Path, library: Path) -> None:
    """Put a copy of `built` at `library`, with its digest; a failure recorded for it is forgotten."""
    with writing_to(library.parent):
        with appears_when_whole(_sidecar(library)) as file:
            file.write_text(digest_of(built))
        with appears_when_whole(library) as file:
            shutil.copyfile(built, file)
        _failure(library).unlink(missing_ok=True)


def remember_failure(library: Path, error: NativeOpsError) -> None:
    """Record that building `library` failed, for the processes that come next."""
    with suppress(OSError), appears_when_whole(_failure(library)) as file:
        file.write_text(str(error), errors="replace")


def recall_failure(library: Path) -> NativeOpsError | None:
    """The failure recorded for `library` a short while ago, if any."""
    try:
        age = time.time() - _failure(library).stat().st_mtime
        text = _failure(library).read_text(errors="replace")
    except OSError:
        return None
    if age > REMEMBER_FAILURE_SECONDS:
        return None
    return NativeOpsError(
        f"{text}\nThat was {max(age, 0):.0f} s ago, and is not tried again for "
        f"{REMEMBER_FAILURE_SECONDS / 60:.0f} minutes; `tfdml build-ops` tries at once."
    )


def _sidecar(library: Path) -> Path:
    return library.with_name(f"{library.name}.sha256")


def _failure(library: Path) -> Path:
    return library.with_suffix(".failed")
