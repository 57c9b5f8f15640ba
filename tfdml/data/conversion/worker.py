"""A worker process of the converter: runs one task after the other until its parent closes the connection or dies.

`pool.py` starts it as `serve(CONNECTION, LIFELINE)`, two file descriptors. It imports neither TensorFlow nor the
parent's main module, so it is there in a fraction of a second.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from tfdml.errors import TfdmlError

_REPORT_EVERY_SECONDS = 0.2
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Failure:
    """Why a task failed, in a form that every process can read.

    Attributes:
        kind: "user" for a TfdmlError, "no_space", "memory", or "bug".
        text: one sentence, or the traceback of a bug.
    """

    kind: str
    text: str


class Progress:
    """Adds up rows and bytes, and passes them on now and then."""

    def __init__(self, send: Callable[[int, int], None]) -> None:
        self._send = send
        self._rows = self._bytes = 0
        self._next = 0.0

    def __call__(self, rows: int, num_bytes: int) -> None:
        self._rows += rows
        self._bytes += num_bytes
        if time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        if self._rows or self._bytes:
            self._send(self._rows, self._bytes)
            self._rows = self._bytes = 0
        self._next = time.monotonic() + _REPORT_EVERY_SECONDS


def run_task(
    function: Callable[..., Any], job: Any, task: Any, progress: Progress
) -> tuple[Any, Failure | None]:
    """What the function returns, or why it failed."""
    try:
        return function(job, task, progress), None
    except TfdmlError as error:
        text = str(error)
        # Storage tells an error of the operating system in a sentence of its own.
        full = os.strerror(errno.ENOSPC).lower() in text.lower()
        return None, Failure("no_space" if full else "user", text)
    except MemoryError:
        return None, Failure("memory", f"{task}")
    except OSError as error:
        if error.errno in DISK_IS_FULL:
            return None, Failure("no_space", str(error.filename or ""))
        return None, Failure("bug", traceback.format_exc())
    except Exception:
        return None, Failure("bug", traceback.format_exc())
    finally:
        progress.flush()


def serve(connection_file: int, lifeline: int) -> None:
    """Answer messages: ("job", function, job) says what to do, ("task", task) does it."""
    connection = Connection(connection_file)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the parent, which ends this process
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    progress = Progress(lambda rows, num_bytes: connection.send(("progress", rows, num_bytes)))
    function: Any = None
    job: Any = None
    while True:
        try:
            what, *values = connection.recv()
        except EOFError:
            return
        except Exception:  # a class of the input that this process cannot import
            connection.send(("failed", Failure("bug", traceback.format_exc())))
            continue
        if what == "job":
            function, job = values
            continue
        result, failure = run_task(function, job, values[0], progress)
        connection.send(("failed", failure) if failure else ("done", result))


def _end_with_parent(lifeline: int) -> None:
    """The write end is the parent's: reading ends when it closes it or is killed."""
    os.read(lifeline, 1)
    os._exit(1)
