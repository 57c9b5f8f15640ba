"""A small disk, and one without room: real ones, whose every write can fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfdml.errors import ConfigError

# What nobody fills by mistake: the disk of this machine has more.
MOST_BYTES = 2**30
_FILLER = ".tfdml-filler"


@contextmanager
def small_disk(directory: str | os.PathLike[str], size_bytes: int) -> Iterator[Path]:
    """In the block `directory` is a disk of its own (a tmpfs), which is gone afterwards with all that is on it.

    Raises:
        ConfigError: it cannot be mounted, which takes root, or the size is not that of a small disk.
    """
    path = Path(directory)
    if not 4096 <= size_bytes <= MOST_BYTES:
        raise ConfigError(
            f"`size_bytes` must be from 4096 to {MOST_BYTES} (it is memory), got {size_bytes}."
        )
    path.mkdir(parents=True, exist_ok=True)
    options = f"size={size_bytes},mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "tfdml-small-disk", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
        said, failed = done.stderr.strip(), done.returncode != 0
    except FileNotFoundError:
        said, failed = "there is no program mount", True
    if failed:
        raise ConfigError(
            f"a small disk could not be mounted at {path} ({said}). Run as root, or in a name space of your own: "
            "unshare --map-root-user --mount COMMAND."
        )
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@contextmanager
def full_disk(directory: str | os.PathLike[str], *, leave_bytes: int = 0) -> Iterator[None]:
    """In the block the disk that `directory` is on has room for `leave_bytes` more, in whole blocks.

    Raises:
        ConfigError: it has more room than a small disk has: that would be the disk of this machine.
    """
    state = os.statvfs(directory)
    free = state.f_bavail * state.f_frsize
    if free > MOST_BYTES:
        raise ConfigError(
            f"{directory} is on a disk with {free >> 20} MiB of room, which other programs may need. "
            "Fill a disk made by small_disk."
        )
    filler = Path(directory, _FILLER)
    size = free - leave_bytes // state.f_frsize * state.f_frsize
    try:
        with open(filler, "wb") as file:
            if size > 0:
                os.posix_fallocate(file.fileno(), 0, size)
        yield
    finally:
        filler.unlink(missing_ok=True)
