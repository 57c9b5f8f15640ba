"""How many processes read the shards of a directory."""

from __future__ import annotations

import os

_BYTES_FOR_ONE = 64 << 20


def reading_processes(asked: int, num_bytes: int) -> int:
    """`asked`, or, for 0, one for each processor; one alone where there is little to read."""
    if asked:
        return asked
    return len(os.sched_getaffinity(0)) if num_bytes > _BYTES_FOR_ONE else 1
