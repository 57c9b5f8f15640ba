"""What the kernel knows of this process: its memory, the cores it had, and those it did not get."""

from __future__ import annotations

import os
import time
import zlib
from contextlib import suppress
from pathlib import Path

import psutil

from tfdml.monitoring.measurement import FACTS

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def clock_of_this_host() -> int:
    """The same number on all tasks that read the same clock: those of one kernel; 1 to 2^32."""
    try:
        boot = _BOOT_ID.read_bytes()
    except OSError:
        boot = str(time.time_ns()).encode()  # nobody else's
    return zlib.crc32(boot) + 1


class ProcessStats:
    """Tells of this process, always since the time before."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._before = self._counters()

    def memory_bytes(self) -> int:
        """Resident, now."""
        return self._process.memory_info().rss

    def read(self) -> dict[str, float]:
        """`measurement.FACTS`."""
        now, before = self._counters(), self._before
        self._before = now
        facts = {name: max(now[name] - before[name], 0.0) for name in now}
        facts["other_cpu_seconds"] = max(facts.pop("host_cpu_seconds") - facts["cpu_seconds"], 0.0)
        facts["cores"] = float(len(os.sched_getaffinity(0)))
        facts["memory_bytes"] = float(self.memory_bytes())
        return {name: facts[name] for name in FACTS}

    def _counters(self) -> dict[str, float]:
        own = self._process.cpu_times()
        host = psutil.cpu_times()
        return {
            "seconds": time.monotonic(),
            "cpu_seconds": own.user + own.system,
            "run_queue_seconds": _run_queue_seconds(),
            "involuntary_switches": float(self._process.num_ctx_switches().involuntary),
            "steal_seconds": getattr(host, "steal", 0.0),
            "host_cpu_seconds": host.user + host.system + getattr(host, "nice", 0.0),
        }


def _run_queue_seconds() -> float:
    """How long threads of this process were ready without a core (Linux: Documentation/scheduler/sched-stats.rst)."""
    nanoseconds = 0
    with suppress(OSError):  # a kernel without it: then contention is not told from a slower device
        for thread in os.listdir("/proc/self/task"):
            with suppress(OSError, IndexError, ValueError):  # it has ended
                path = f"/proc/self/task/{thread}/schedstat"
                with open(path, encoding="ascii") as file:
                    nanoseconds += int(file.read().split()[1])
    return nanoseconds / 1e9
