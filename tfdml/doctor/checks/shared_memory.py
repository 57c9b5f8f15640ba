"""The size of /dev/shm, through which NCCL moves data between GPUs of a host."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tfdml.doctor.finding import Finding
from tfdml.doctor.subject import Subject
from tfdml.launch import gpus

NAME = "shared memory"
DIRECTORY = Path("/dev/shm")
_MIB = 2**20
_ENOUGH = (
    512 * _MIB
)  # NCCL takes some 10 MB for each pair of GPUs and channel. Docker gives 64 MiB in all.


def check(subject: Subject) -> Iterable[Finding]:
    several_gpus = len(gpus.visible_gpus(subject.environ)) > 1
    remedy = "docker run --shm-size=2g; in Kubernetes an emptyDir with `medium: Memory` mounted at /dev/shm."
    level = "warning" if several_gpus else "note"
    try:
        status = os.statvfs(DIRECTORY)
    except OSError as error:
        yield Finding(NAME, level, f"{DIRECTORY} cannot be used: {error.strerror}", remedy)
        return
    free = status.f_bavail * status.f_frsize
    text = f"{free / _MIB:,.0f} MiB free in {DIRECTORY}"
    if free < _ENOUGH:
        who = "; several GPUs of a host need more" if several_gpus else ""
        yield Finding(NAME, level, text + who, remedy, {"free_bytes": free})
    else:
        yield Finding(NAME, "ok", text, "", {"free_bytes": free})
