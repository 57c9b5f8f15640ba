"""Runs tasks in worker processes, or in this one, and turns their failures into errors a user can act on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from tfdml.data.conversion.worker import Failure, Progress, run_task
from tfdml.errors import DataError

# Not -m: the classes of a module that runs as the main one cannot be sent to another process.
_START = (
    "import sys; from tfdml.data.conversion.worker import serve; serve(*map(int, sys.argv[1:]))"
)


class Report(Protocol):
    """How a task says how far it is; cheap enough for every few records."""

    def __call__(self, rows: int, num_bytes: int) -> None: ...


class NoSpace(DataError):
    """The disk is full; `place` is what was being written, or ""."""

    def __init__(self, place: str) -> None:
        super().__init__(f"No space is left for {place or 'what is being written'}.")
        self.place = place


class Pool:
    """A fixed number of processes. With one, everything runs in the calling process.

    Args:
        inherited: file descriptors that the workers keep open as long as they live.
    """

    def __init__(self, num_processes: int, inherited: tuple[int, ...] = ()) -> None:
        self._num_processes = num_processes
        self._inherited = inherited
        self._workers: list[_Worker] = []

    def __enter__(self) -> Pool:
        if self._num_processes > 1:
            # Before there are tasks: they import while these are made.
            self._workers = [_Worker(self._inherited) for _ in range(self._num_processes)]
        return self

    def __exit__(self, *exc_info: object) -> None:
        for worker in self._workers:
            worker.kill()

    def run(
        self,
        function: Callable[[Any, Any, Report], Any],
        job: Any,
        tasks: Iterable[Any],
        on_progress: Callable[[int, int], None] = lambda rows, num_bytes: None,
    ) -> Iterator[tuple[Any, Any]]:
        """(task, result) in the order in which they are finished.

        Raises:
            DataError: what a task raised; NoSpace; or a sentence about a process that was killed.
            RuntimeError: with the traceback of a bug in a task.
        """
        waiting = deque(tasks)
        if self._num_processes == 1:
            progress = Progress(on_progress)
            for task in waiting:
                result, failure = run_task(function, job, task, progress)
                if failure:
                    raise _error(failure)
                yield task, result
            return
        for worker in self._workers:
            worker.send(("job", function, job))
        busy: dict[Connection, tuple[_Worker, Any]] = {}
        idle = deque(self._workers)
        while waiting or busy:
            while waiting and idle:
                worker, task = idle.popleft(), waiting.popleft()
                worker.send(("task", task))
                busy[worker.connection] = worker, task
            for ready in wait(list(busy)):
                worker, task = busy[ready]  # type: ignore[index]
                what, *values = worker.receive()
                if what == "progress":
                    on_progress(*values)
                elif what == "failed":
                    raise _error(values[0])
                else:
                    del busy[worker.connection]
                    idle.append(worker)
                    yield task, values[0]


class _Worker:
    """A process and the connection to it."""

    def __init__(self, inherited: tuple[int, ...]) -> None:
        ours, theirs = socket.socketpair()
        read_end, self._lifeline = os.pipe()
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            # As many processes as processors are at work already.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        command = [sys.executable, "-c", _START, str(theirs.fileno()), str(read_end)]
        with theirs:
            self._process = subprocess.Popen(
                command,
                env=environment,
                pass_fds=(theirs.fileno(), read_end, *inherited),
                stdin=subprocess.DEVNULL,
            )
        os.close(read_end)
        self.connection = Connection(ours.detach())

    def send(self, message: Any) -> None:
        try:
            self.connection.send(message)
        except (BrokenPipeError, ConnectionResetError):
            raise self._death() from None

    def receive(self) -> tuple[Any, ...]:
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            raise self._death() from None

    def _death(self) -> DataError:
        status = self._process.wait()
        if status == -signal.SIGKILL:
            reason = (
                "was killed (signal 9), which the kernel does where memory runs out; run the same command "
                "again with fewer --num_processes, what is finished is kept"
            )
        elif status < 0:
            reason = f"was ended by signal {-status} ({signal.Signals(-status).name})"
        else:
            reason = f"ended with status {status}; its last words are above"
        return DataError(f"A worker process {reason}.")

    def kill(self) -> None:
        """End it now; its files are whole or under temporary names."""
        os.close(self._lifeline)
        self.connection.close()
        self._process.kill()
        self._process.wait()


def _error(failure: Failure) -> Exception:
    if failure.kind == "no_space":
        return NoSpace(failure.text)
    if failure.kind == "memory":
        return DataError(
            f"Memory ran out in {failure.text}. Use fewer --num_processes or a smaller --memory_bytes."
        )
    if failure.kind == "user":
        return DataError(failure.text)
    return RuntimeError(f"A task failed.\n{failure.text}")
