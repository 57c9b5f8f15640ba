"""Room for checkpoints, and whether all tasks would write them to the same place."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tfdml.cluster.resolver import host_of
from tfdml.doctor.finding import Finding
from tfdml.doctor.subject import Subject

NAME = "disk"
_MIB, _GIB = 2**20, 2**30
LEAST_BYTES = 64 * _MIB  # Two snapshots of a small model, event files and logs.
COMFORTABLE_BYTES = 5 * _GIB
_TRIAL_BYTES = _MIB
# File systems that other hosts do not see.
_LOCAL = {
    "ext2",
    "ext3",
    "ext4",
    "xfs",
    "btrfs",
    "zfs",
    "overlay",
    "tmpfs",
    "ramfs",
    "f2fs",
    "vfat",
}


def check(subject: Subject) -> Iterable[Finding]:
    wanted = subject.model_directory.absolute()
    directory = existing_parent(wanted)
    where = str(wanted) if directory == wanted else f"{wanted} (made in {directory})"
    try:
        _write(directory)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        yield Finding(
            NAME,
            "error",
            f"nothing can be written to {where}: {error.strerror}",
            "Free space there, or use another --model_dir." if full else "Use another --model_dir.",
        )
        return
    status = os.statvfs(directory)
    free = status.f_bavail * status.f_frsize
    text = f"{free / _GIB:,.1f} GiB free for checkpoints in {where}"
    figures = {"free_bytes": free}
    remedy = (
        "A snapshot takes the bytes of weights and optimizer state, and two are there at a time."
    )
    if free < LEAST_BYTES:
        text = f"{free / _MIB:,.1f} MiB free for checkpoints in {where}"
        yield Finding(
            NAME, "error", text, f"Free some, or use another --model_dir. {remedy}", figures
        )
    elif status.f_files and not status.f_favail:
        yield Finding(
            NAME, "error", f"no more files can be made in {where}", "Delete some.", figures
        )
    elif free < COMFORTABLE_BYTES:
        yield Finding(NAME, "warning", text, remedy, figures)
    else:
        yield Finding(NAME, "ok", text, "", figures)
    yield from _is_shared(subject, directory)


def _is_shared(subject: Subject, directory: Path) -> Iterable[Finding]:
    hosts = {host_of(task.address) for task in subject.place.cluster.tasks()}
    if len(hosts) < 2:
        return
    kind = file_system(directory, subject.around.read("/proc/self/mountinfo") or "")
    if kind in _LOCAL:
        yield Finding(
            NAME,
            "warning",
            f"{directory} is on {kind}, which the job's other {len(hosts) - 1} host(s) do not see: "
            "snapshots must lie where every task reads and writes them",
            "Give a --model_dir on shared storage, such as NFS or Lustre.",
        )


def existing_parent(directory: Path) -> Path:
    """The directory itself, or the nearest one above that exists."""
    # Not Path.exists, which raises where a directory above may not be entered.
    return next(each for each in (directory, *directory.parents) if os.path.exists(each))


def file_system(directory: Path, mountinfo: str) -> str:
    """The type of the file system that holds `directory`, from /proc/self/mountinfo; "" where it is not said."""
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        words = fields.split()
        if len(words) < 5 or not rest:
            continue
        mount = Path(words[4].replace("\\040", " "))
        if (mount == directory or mount in directory.parents) and len(mount.parts) >= best:
            best, kind = len(mount.parts), rest.split()[0]
    return kind


def _write(directory: Path) -> None:
    """Write a file and bring it to the disk: quotas and read-only mounts show nowhere else."""
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".tfdml-doctor-") as file:
        file.write(bytes(_TRIAL_BYTES))
        file.flush()
        os.fsync(file.fileno())
