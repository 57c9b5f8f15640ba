"""How a task tells its launcher that it is getting on, and shows where it stands when it is not.

The launcher names a file in the environment, and the task writes three numbers to it through shared memory, which
costs less than a microsecond. Without a launcher all of this does nothing. The Trainer does it by itself; a loop of
one's own calls `beat` once a step, so that `tfdml launch --hang_timeout_seconds` watches it too.

Imports no TensorFlow: the launcher reads what tasks write.
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import mmap
import os
import signal
import struct
from collections.abc import Iterator
from dataclasses import dataclass

VARIABLE = "TFDML_HEARTBEAT"
# Asks a task that has beaten once for the stacks of all its Python threads, on its standard error.
STACKS_SIGNAL = signal.SIGQUIT

_NUMBERS = struct.Struct("<qqq")
NUM_BYTES = _NUMBERS.size


@dataclass(frozen=True)
class Beat:
    """What a task has last said.

    Attributes:
        count: grows with every sign of life; 0 before the first.
        step: steps trained in all.
        is_waiting: whether the task is in a call that may wait for other tasks.
    """

    count: int
    step: int
    is_waiting: bool


def beat(step: int | None = None) -> None:
    """Say that this task is getting on; `step` where it has changed: steps trained in all."""
    own = _own()
    if own is not None:
        own.note(step=step)


def rest() -> None:
    """Say that nobody need watch this task until the next `beat`: what comes now may take its time."""
    own = _own()
    if own is not None:
        own.rest()


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """In this block the task may wait for others: one that never comes here is what they wait for."""
    own = _own()
    if own is None:
        yield
        return
    own.note(is_waiting=True)
    try:
        yield
    finally:
        own.note(is_waiting=False)


def read(path: str | os.PathLike[str]) -> Beat:
    """What the task that writes to `path` has last said; `Beat(0, 0, False)` before it says anything."""
    try:
        with open(path, "rb") as file:
            data = file.read(NUM_BYTES)
    except OSError:
        data = b""
    count, step, is_waiting = _NUMBERS.unpack(data.ljust(NUM_BYTES, b"\0"))
    return Beat(count, step, bool(is_waiting))


class _Own:
    """The file of this task."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            file.truncate(NUM_BYTES)
            self._memory = mmap.mmap(file.fileno(), NUM_BYTES)
        self._count, self._step, self._depth = 0, 0, 0

    def rest(self) -> None:
        self._count = 0
        _NUMBERS.pack_into(self._memory, 0, 0, self._step, 0)

    def note(self, step: int | None = None, is_waiting: bool | None = None) -> None:
        self._count += 1
        self._step = self._step if step is None else step
        if is_waiting is not None:
            self._depth += 1 if is_waiting else -1
        _NUMBERS.pack_into(self._memory, 0, self._count, self._step, int(self._depth > 0))


@functools.cache
def _own() -> _Own | None:
    path = os.environ.get(VARIABLE)
    if not path:
        return None
    try:
        own = _Own(path)
    except OSError:
        return None  # the launcher has gone, and takes its tasks with it
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # no standard error to write to
        faulthandler.register(STACKS_SIGNAL, all_threads=True, chain=False)
    return own
