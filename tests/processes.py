"""Wait for other processes, and find those that a test has left."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import psutil

# The helpers of the standard library's multiprocessing, which end with the test process itself.
_STANDARD_LIBRARY = ("multiprocessing.forkserver", "multiprocessing.resource_tracker")


def leftover_processes() -> list[psutil.Process]:
    """Descendants of this process that still run, without multiprocessing's own two helpers.

    A forked worker has the command line of the forkserver, so that helper is known by its parent.
    """
    me = psutil.Process()
    left = []
    for process in me.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            helper = process.ppid() == me.pid and any(
                name in " ".join(process.cmdline()) for name in _STANDARD_LIBRARY
            )
            if not helper and process.status() != psutil.STATUS_ZOMBIE:
                left.append(process)
    return left


def wait_for_file(path: Path) -> None:
    """Until a file is there; the test runner's time limit bounds the wait."""
    while not path.exists():
        time.sleep(0.05)
