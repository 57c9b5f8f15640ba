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
        facts["sent_bytes"] = 0.0  # `LinkSpeed` knows
        return {name: facts[name] for name in FACTS}

    def _counters(self) -> dict[str, float]:
        host = psutil.cpu_times()
        running, waiting = _scheduled_seconds()
        if not running:
            own = self._process.cpu_times()  # in hundredths of a second only
            running = own.user + own.system
        return {
            "seconds": time.monotonic(),
            "cpu_seconds": running,
            "run_queue_seconds": waiting,
            "involuntary_switches": float(self._process.num_ctx_switches().involuntary),
            "steal_seconds": getattr(host, "steal", 0.0),
            "host_cpu_seconds": host.user + host.system + getattr(host, "nice", 0.0),
        }


def _scheduled_seconds() -> tuple[float, float]:
    """How long threads of this process ran, and how long they were ready to and had no core.

    Linux: Documentation/scheduler/sched-stats.rst. Zeros where the kernel does not say: then contention is not told
    from a slower device.
    """
    running = waiting = 0
    with suppress(OSError):
        for thread in os.listdir("/proc/self/task"):
            with suppress(OSError, IndexError, ValueError):  # it has ended
                with open(f"/proc/self/task/{thread}/schedstat", encoding="ascii") as file:
                    numbers = file.read().split()
                running, waiting = running + int(numbers[0]), waiting + int(numbers[1])
    return running / 1e9, waiting / 1e9
