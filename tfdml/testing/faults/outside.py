"""Kill processes at moments that nobody chose."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tfdml.errors import ConfigError


@dataclass(frozen=True)
class Killed:
    """A process that was killed `after_seconds`; `was_running` is false where it had ended by itself before."""

    process: subprocess.Popen
    after_seconds: float
    was_running: bool


def kill_at_random_moments(
    start: Callable[[], subprocess.Popen],
    num_moments: int,
    *,
    within_seconds: tuple[float, float],
    seed: int = 0,
) -> Iterator[Killed]:
    """Start a process and SIGKILL it, again and again; look between at what it has left.

    ```python
    for killed in kill_at_random_moments(start, 20, within_seconds=(2, 8)):
        check(directory)
    ```

    Args:
        start: starts the process. One that leads a process group (`start_new_session=True`) is killed with all
            of its group; of a launcher kill the launcher alone, and see whether its tasks end too.
        within_seconds: the shortest and the longest life, in seconds after `start` has returned.
        seed: the same seed gives the same moments.

    Raises:
        ConfigError: no moments, or a life that cannot be.
    """
    shortest, longest = within_seconds
    if num_moments < 1 or not 0 <= shortest <= longest:
        raise ConfigError(
            "`num_moments` must be at least 1 and `within_seconds` two numbers from 0 on, the smaller first, got "
            f"{num_moments} and {within_seconds}. Give for example 20 and (0, 0.3)."
        )
    return _kill(start, random.Random(seed), num_moments, shortest, longest)


def _kill(
    start: Callable[[], subprocess.Popen],
    chosen: random.Random,
    num_moments: int,
    shortest: float,
    longest: float,
) -> Iterator[Killed]:
    for _ in range(num_moments):
        seconds = chosen.uniform(shortest, longest)
        process = start()
        try:
            time.sleep(seconds)
        finally:
            was_running = process.poll() is None
            _end(process)
        yield Killed(process, seconds, was_running)


def _end(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None and os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()
