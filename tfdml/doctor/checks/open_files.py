"""How many files this process may have open: connections to tasks, shards of data, checkpoints."""

from __future__ import annotations

import resource
from collections.abc import Iterable

from tfdml.doctor.finding import Finding
from tfdml.doctor.subject import Subject

NAME = "open files"
COMFORTABLE = 1024
# The recipe on two workers fails with 24 and runs with 40; every task more is a connection or two.
_BASE = 32
_PER_TASK = 4


def check(subject: Subject) -> Iterable[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    tasks = max(1, sum(map(len, subject.place.cluster.jobs.values())))
    needed = _BASE + _PER_TASK * tasks
    figures = {"limit": float(soft), "needed": needed}
    if soft == resource.RLIM_INFINITY:
        yield Finding(NAME, "ok", "no limit")
    elif soft < needed:
        yield Finding(
            NAME,
            "error",
            f"this process may open {soft} files, and a task of {tasks} needs about {needed}",
            _remedy(hard),
            figures,
        )
    elif soft < COMFORTABLE:
        text = f"this process may open {soft} files; every task and every shard that is read takes some"
        yield Finding(NAME, "warning", text, _remedy(hard), figures)
    else:
        yield Finding(NAME, "ok", f"this process may open {soft:,} files", "", figures)


def _remedy(hard: int) -> str:
    if hard == resource.RLIM_INFINITY or hard >= COMFORTABLE:
        most = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
        return f"ulimit -n {most}, before the job starts."
    return (
        f"The hard limit is {hard}: raise it in /etc/security/limits.conf, with LimitNOFILE= of the batch "
        "system's service, or docker run --ulimit nofile=65536."
    )
