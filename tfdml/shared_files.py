"""Files that several processes meet in: whole or absent, and written by one process at a time."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def appears_when_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name beside `path`; when the block ends well, its file becomes `path`.

    A reader therefore sees the old file, no file or the whole new file, also after a crash: the
    bytes are on disk before the rename. When the block raises, the temporary file is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp's 0600 would hide the file from a team
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def one_process_at_a_time(lock_path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold an exclusive lock on the file `lock_path`; wait while another process holds it.

    The kernel drops the lock when its holder dies, so a killed process never blocks the others.
    """
    lock_path = Path(lock_path)
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with lock_path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file releases the lock


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
