"""Runs in a task that has been forked, or has waited: make the process what plain `python SCRIPT` would be."""

from __future__ import annotations

import atexit
import builtins
import importlib.machinery
import io
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection

from tfdml.launch.guard import registration


def main(
    script: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    path: Sequence[str],
    output: Connection,
    guard: Connection,
) -> None:
    """In a process that has just been forked: `become`, in a group of its own that the guard knows."""
    os.setpgid(0, 0)
    os.write(guard.fileno(), registration(os.getpid()))
    guard.close()
    output_fd = os.dup(output.fileno())
    output.close()
    become(script, arguments, environment, path, output_fd)


def become(
    script: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    path: Sequence[str],
    output_fd: int,
) -> None:
    """Run `script` as `__main__`, print to `output_fd`, and end with the script's exit status.

    `path` is `sys.path` without its first entry, which is the script's directory.
    """
    for fd in (1, 2):
        os.dup2(output_fd, fd)
    os.close(output_fd)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    # Processes that the script starts must not come from the launcher's forkserver by default.
    multiprocessing.set_start_method(None, force=True)
    if "numpy.random" in sys.modules:
        # Its global generator was seeded by the import that all tasks share; Python's own reseeds.
        sys.modules["numpy.random"].seed()
    sys.argv = [script, *arguments]
    sys.path[:] = [os.path.dirname(os.path.realpath(script)), *path]
    sys.exit(_run(script))


def _run(script: str) -> int:
    """The script's exit status, after everything that plain Python does when a script has ended."""
    try:
        status = _status_of(script)
        # Not public, but Python's own end consists of these two: wait for threads, then call what
        # is registered. multiprocessing leaves the second out (before 3.14).
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except KeyboardInterrupt:
        # As Python does: let the parent see that the signal ended the process.
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        raise
    return status


def _status_of(script: str) -> int:
    module = types.ModuleType("__main__")
    module.__file__ = os.path.abspath(script)
    module.__loader__ = importlib.machinery.SourceFileLoader("__main__", module.__file__)
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    try:
        with io.open_code(module.__file__) as file:
            source = file.read()
        exec(compile(source, script, "exec", dont_inherit=True), module.__dict__)
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
        return 1
    except Exception as error:
        # Without this function's own frame, which would only be in the way.
        frames = error.__traceback__.tb_next if error.__traceback__ else None
        sys.excepthook(type(error), error.with_traceback(frames), frames)
        return 1
    return 0
