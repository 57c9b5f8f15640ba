"""Processes that have imported TensorFlow and wait for a task: what a fork cannot be where GPUs are in use.

A starter like `SpawnStarter`, but that a task becomes one of a few such processes where one is left. Each
that is taken is replaced at once, so the next start of the job finds them warm.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress

from tfdml.launch import child
from tfdml.launch.guard import Guard
from tfdml.launch.plan import Remote, Task
from tfdml.launch.start import Process, Spawned, SpawnStarter, popen_registered

_LENGTH = struct.Struct("<Q")


class StandbyStarter:
    """`python SCRIPT`, once per task, of which `num_standby` at a time have imported TensorFlow already."""

    name = "spawn, with standby processes"

    def __init__(self, num_standby: int) -> None:
        self._num_standby = num_standby
        self._cold = SpawnStarter()
        self._idle: list[_Standby] = []  # The oldest last: it is taken first.
        self._environment: Mapping[str, str] = {}
        self._is_closed = False
        self._lock = threading.Lock()

    def prepare(self, environment: Mapping[str, str], guard: Guard) -> None:
        # TensorFlow reads some of it on import; the rest comes with the task, before any device is asked.
        self._environment = environment
        self._is_closed = False
        self._fill(guard)

    def start(self, task: Task | Remote, output_fd: int, guard: Guard) -> Process:
        assert isinstance(task, Task)
        while True:
            with self._lock:
                standby = self._idle.pop() if self._idle else None
            if standby is None:
                return self._cold.start(task, output_fd, guard)
            if standby.become(task, output_fd):
                self._fill(guard)
                return standby
            standby.discard()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for standby in idle:
            standby.discard()

    def _fill(self, guard: Guard) -> None:
        with self._lock, suppress(OSError):  # Without one, a task starts cold.
            while not self._is_closed and len(self._idle) < self._num_standby:
                self._idle.insert(0, _Standby(self._environment, guard))


class _Standby(Spawned):
    """One such process, and the connection through which it gets its task."""

    def __init__(self, environment: Mapping[str, str], guard: Guard) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # With this process's own path, as the one that tasks are forked from.
            code = (
                f"import sys; sys.path[:] = {sys.path!r}; "
                f"from {__name__} import wait_for_task; wait_for_task({theirs.fileno()})"
            )
            popen = popen_registered(
                [sys.executable, "-c", code],
                environment,
                guard,
                subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        super().__init__(popen)
        self._guard = guard
        self._socket = ours

    def become(self, task: Task, output_fd: int) -> bool:
        """Whether it runs `task` now; not where it has ended, of the import perhaps."""
        environment = task.environment(os.environ)
        message = json.dumps([task.script, task.arguments, environment, sys.path[1:]]).encode()
        with self._socket, suppress(OSError):
            # Not waited for yet: while it has not been, its number names no other process.
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                socket.send_fds(self._socket, [_LENGTH.pack(len(message))], [output_fd])
                self._socket.sendall(message)
                return True
        return False

    def discard(self) -> None:
        self._socket.close()
        self.end(signal.SIGKILL)
        self.wait()
        self._guard.forget(self.pid)


def wait_for_task(fd: int) -> None:
    """In the process: import, wait, and become what comes."""
    importlib.import_module("tfdml.launch.warm")
    with socket.socket(fileno=fd) as connection:
        header, fds, _, _ = socket.recv_fds(connection, _LENGTH.size, 1)
        (length,) = _LENGTH.unpack(header)
        with connection.makefile("rb") as stream:
            script, arguments, environment, path = json.loads(stream.read(length))
    child.become(script, arguments, environment, path, fds[0])
