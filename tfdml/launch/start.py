"""The two ways to start a task: a new process, or a fork of one that has imported TensorFlow.

A starter's `start` returns once the process exists, is the leader of a process group of its own,
reads nothing from standard input, prints into `output_fd`, and is known to the guard.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import multiprocessing.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Protocol

from tfdml.launch import child
from tfdml.launch.guard import Guard
from tfdml.launch.plan import Remote, Task


class Process(Protocol):
    """A started task."""

    pid: int

    def wait(self) -> int:
        """Block until it has ended; its exit status, or minus the number of the signal."""

    def end(self, signum: int) -> None:
        """Send a signal to everything that belongs to it, in order to end it."""

    def pass_on(self, signum: int) -> None:
        """Send a signal that means something to the task itself."""


class Starter(Protocol):
    """One way to start tasks. It outlives a job, so that the next start can be a quick one."""

    name: str

    def prepare(self, environment: Mapping[str, str], guard: Guard) -> None:
        """Begin what takes long, in the background. `environment` is what all tasks share."""

    def start(self, task: Task | Remote, output_fd: int, guard: Guard) -> Process:
        """Start `task`. Raises OSError or EOFError where no process can be made."""

    def close(self) -> None:
        """End what `prepare` began. Processes that are being started fail to."""


def kill_group(pid: int, signum: int) -> None:
    """Send a signal to the process group of a task, if anybody is left in it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)


class _Grouped:
    """A process that leads a group of its own on this host."""

    pid: int

    def end(self, signum: int) -> None:
        kill_group(self.pid, signum)

    def pass_on(self, signum: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, signum)


class Spawned(_Grouped):
    """A process that this one has started itself."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self.pid = popen.pid

    def wait(self) -> int:
        # While the process has ended but has not been waited for, its number names no other group.
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        kill_group(self.pid, signal.SIGKILL)
        return self._popen.wait()


# The shell registers the group in which the program is going to run before it becomes that program.
_REGISTER_THEN_RUN = 'echo "+$$" >&0 && exec "$@" </dev/null'


def popen_registered(
    command: Sequence[str],
    environment: Mapping[str, str],
    guard: Guard,
    output_fd: int,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `command` in a group of its own, which the guard knows before it runs."""
    return subprocess.Popen(
        ["/bin/sh", "-c", _REGISTER_THEN_RUN, "sh", *command],
        env=environment,
        stdin=guard.fd,
        stdout=output_fd,
        stderr=output_fd,
        process_group=0,
        pass_fds=pass_fds,
    )


class SpawnStarter:
    """`python SCRIPT`, once per task; each imports TensorFlow for itself."""

    name = "spawn"

    def prepare(self, environment: Mapping[str, str], guard: Guard) -> None:
        pass

    def start(self, task: Task | Remote, output_fd: int, guard: Guard) -> Process:
        assert isinstance(task, Task)
        return Spawned(
            popen_registered(task.command, task.environment(os.environ), guard, output_fd)
        )

    def close(self) -> None:
        pass


class _Forked(_Grouped):
    def __init__(self, process: multiprocessing.process.BaseProcess) -> None:
        assert process.pid is not None
        self._process = process
        self.pid = process.pid

    def wait(self) -> int:
        self._process.join()
        kill_group(self.pid, signal.SIGKILL)
        assert self._process.exitcode is not None
        return self._process.exitcode


class ForkStarter:
    """A fork, per task, of a process that has imported TensorFlow and initialised nothing.

    That process is the standard library's forkserver: there is one of it in a launcher, and it
    stays until `close`, so that starting all tasks again takes a fraction of a second.
    """

    name = "fork"

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")

    def prepare(self, environment: Mapping[str, str], guard: Guard) -> None:
        """Start the import. For the main thread: the forkserver dies with the caller."""
        # Where multiprocessing keeps its sockets; it removes them itself, unless it is killed.
        guard.adopt(multiprocessing.util.get_temp_dir())
        self._context.set_forkserver_preload(["tfdml.launch.preload"])
        # It keeps the environment that it finds now, and TensorFlow reads some of it on import.
        environment = {**environment, "TFDML_LAUNCHER_PID": str(os.getpid())}  # See preload.py.
        with _environment(environment), _silence():
            multiprocessing.forkserver.ensure_running()

    def start(self, task: Task | Remote, output_fd: int, guard: Guard) -> Process:
        assert isinstance(task, Task)
        output = Connection(os.dup(output_fd), readable=False)
        guard_pipe = Connection(os.dup(guard.fd), readable=False)
        process = self._context.Process(
            target=child.main,
            args=(
                task.script,
                task.arguments,
                task.environment(os.environ),
                sys.path[1:],
                output,
                guard_pipe,
            ),
            name=task.name,
        )
        with output, guard_pipe:
            process.start()
        return _Forked(process)

    def close(self) -> None:
        # Not public. Left alone, the process ends by itself when the launcher has ended, but takes
        # down the whole of TensorFlow first, or even finishes importing it.
        pid = getattr(multiprocessing.forkserver._forkserver, "_forkserver_pid", None)
        if pid is not None:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                # Until it is gone, but leaving its status to forkserver, which asks for it.
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


@contextmanager
def _environment(environment: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _silence() -> Iterator[None]:
    """What is started in this block prints nothing.

    TensorFlow greets whoever imports it, and should the import fail, the script's own says so.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    saved = {fd: os.dup(fd) for fd in (1, 2)}
    for fd in saved:
        os.dup2(nowhere, fd)
    try:
        yield
    finally:
        for fd, copy in saved.items():
            os.dup2(copy, fd)
            os.close(copy)
        os.close(nowhere)
