"""How many CPUs this process may use, against the threads that TensorFlow starts for them."""

from __future__ import annotations

import os
from collections.abc import Iterable

from tfdml.doctor import cgroup
from tfdml.doctor.finding import Finding
from tfdml.doctor.subject import Subject

NAME = "processors"
THREADS_VARIABLE = "TF_NUM_INTRAOP_THREADS"


def check(subject: Subject) -> Iterable[Finding]:
    cores = usable_cores()
    tasks = subject.place.tasks_on_host
    asked = subject.environ.get(THREADS_VARIABLE, "").strip()
    threads = int(asked) if asked.isdigit() and int(asked) else cores
    limit = cgroup.cpu_limit(subject.around)
    figures = {"cores": cores, "threads_per_task": threads, "tasks_on_host": tasks}
    if limit is not None and threads > limit + 0.5:
        # TensorFlow counts the cores that the process may run on. A quota is time, not cores.
        yield Finding(
            NAME,
            "warning",
            f"the container may use {limit:g} CPUs at a time, and TensorFlow starts {threads} threads for "
            f"{cores} cores: they are stopped again and again",
            f"Set {THREADS_VARIABLE}={max(1, round(limit))}.",
            figures,
        )
    elif tasks > 1 and tasks * threads > 2 * cores:
        yield Finding(
            NAME,
            "warning",
            f"{tasks} tasks of this host start {threads} threads each on the same {cores} cores",
            f"Set {THREADS_VARIABLE}={max(1, cores // tasks)}, or let the batch system bind tasks to cores.",
            figures,
        )
    else:
        yield Finding(
            NAME, "ok", f"{cores} cores, {threads} threads in each of {tasks} task(s)", "", figures
        )


def usable_cores() -> int:
    return len(os.sched_getaffinity(0))
