"""What a container or a batch system allows this process: the limits of its control groups.

`checks/processors.py` and `checks/memory.py` ask it.
"""

from __future__ import annotations

from collections.abc import Iterator

from tfdml.cluster.resolver import Surroundings

_ROOT = "/sys/fs/cgroup"


def cpu_limit(around: Surroundings) -> float | None:
    """CPUs that the group may use at a time; None without a limit."""
    limits = []
    for directory in _directories(around, "cpu"):
        quota, _, period = (around.read(f"{directory}/cpu.max") or "").strip().partition(" ")
        if not quota:
            quota = (around.read(f"{directory}/cpu.cfs_quota_us") or "").strip()
            period = (around.read(f"{directory}/cpu.cfs_period_us") or "").strip()
        if quota.isdigit() and period.isdigit() and int(period):
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def memory_left(around: Surroundings) -> int | None:
    """Bytes that the group may still use; None without a limit."""
    left = []
    for directory in _directories(around, "memory"):
        for limit, usage in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            text = (around.read(f"{directory}/{limit}") or "").strip()
            used = (around.read(f"{directory}/{usage}") or "").strip()
            # Without a limit version 1 gives a number beyond any memory.
            if text.isdigit() and used.isdigit() and int(text) < 2**60:
                left.append(max(0, int(text) - int(used)))
    return min(left, default=None)


def _directories(around: Surroundings, controller: str) -> Iterator[str]:
    """This process's group of a controller and all above it, in version 2 and in version 1."""
    for line in (around.read("/proc/self/cgroup") or "").splitlines():
        number, controllers, path, *_ = [*line.split(":", 2), "", ""]
        if number == "0":
            root = _ROOT
        elif controller in controllers.split(","):
            root = f"{_ROOT}/{controller}"
        else:
            continue
        parts = [part for part in path.split("/") if part and part != ".."]
        for depth in range(len(parts), -1, -1):
            yield "/".join([root, *parts[:depth]])
