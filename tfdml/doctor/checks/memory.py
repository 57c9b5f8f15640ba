"""Memory for the tasks of this host."""

from __future__ import annotations

from collections.abc import Iterable

import psutil

from tfdml.doctor import cgroup
from tfdml.doctor.finding import Finding
from tfdml.doctor.subject import Subject

NAME = "memory"
GIB = 2**30
# A task holds 0.65 GiB before it has a model, 0.3 of it for itself alone; forked tasks share more.
_LEAST_PER_TASK = 0.6 * GIB
_COMFORTABLE_PER_TASK = 2 * GIB


def check(subject: Subject) -> Iterable[Finding]:
    free = available_bytes()
    left = cgroup.memory_left(subject.around)
    limited = left is not None and left < free
    if left is not None and limited:
        free = left
    tasks = subject.place.tasks_on_host
    each = free / tasks
    where = "this container's limit leaves" if limited else "this host has"
    text = f"{where} {free / GIB:.1f} GiB of memory for {tasks} task(s)"
    figures = {"free_bytes": free}
    if each < _LEAST_PER_TASK:
        needed = f"each needs {_LEAST_PER_TASK / GIB:.1f} GiB before it has a model"
        yield Finding(NAME, "error", f"{text}: {needed}", "Give it more, or start fewer.", figures)
    elif each < _COMFORTABLE_PER_TASK:
        yield Finding(NAME, "warning", text, "That is enough for small models only.", figures)
    else:
        yield Finding(NAME, "ok", text, "", figures)


def available_bytes() -> int:
    return psutil.virtual_memory().available
