"""What runs inside a forked task: set up, call the function, leave the outcome in a file."""

from __future__ import annotations

import faulthandler
import importlib.util
import json
import multiprocessing
import multiprocessing.connection
import os
import pickle
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfdml.errors import ConfigError

OUTPUT_FILE = "output.txt"
OUTCOME_FILE = "outcome.pickle"


@dataclass(frozen=True)
class Call:
    """A function by reference and its pickled arguments.

    The module's file travels with its name, so that functions of test modules work whichever way
    the test runner imported them.
    """

    module: str
    file: str | None
    pickled: bytes

    @classmethod
    def of(cls, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        if "<" in getattr(fn, "__qualname__", "<"):
            raise ConfigError(
                f"`fn` must be a function defined at the top of a module, got {fn!r}: it runs in "
                "another process and is found there by name. Move it to module level and pass what "
                "it needs in `args`."
            )
        module = sys.modules[fn.__module__]
        file = getattr(module, "__file__", None)
        return cls(fn.__module__, file, pickle.dumps((fn, args, kwargs)))

    def __call__(self) -> Any:
        if self.module not in sys.modules and self.file is not None:
            spec = importlib.util.spec_from_file_location(self.module, self.file)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[self.module] = module
            spec.loader.exec_module(module)
        fn, args, kwargs = pickle.loads(self.pickled)
        return fn(*args, **kwargs)


@dataclass(frozen=True)
class Assignment:
    """All that a task must know; `limit_seconds` is a backstop for a parent that does not look."""

    call: Call
    directory: str
    working_directory: str
    environment: dict[str, str]
    num_devices: int
    num_threads: int
    limit_seconds: float


@dataclass(frozen=True)
class Outcome:
    """`value` if the function returned, `traceback` and `error` (its first line) if it raised.

    `at` is `time.monotonic()`, the same clock in every process of a machine.
    """

    at: float
    value: Any = None
    error: str | None = None
    traceback: str = ""


def run_task(assignment: Assignment, link: multiprocessing.connection.Connection) -> None:
    """Entry point of a task. Never returns: the harness ends the process."""
    os.setsid()  # so that the harness can end whatever the function starts, too
    _redirect_output(Path(assignment.directory, OUTPUT_FILE))
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    faulthandler.dump_traceback_later(assignment.limit_seconds, exit=True)
    group_directory = Path(assignment.directory).parent
    threading.Thread(target=_die_with_parent, args=(group_directory,), daemon=True).start()
    try:
        _prepare(assignment)
        outcome = Outcome(value=assignment.call(), at=time.monotonic())
        data = pickle.dumps(outcome)
    except BaseException as error:
        data = pickle.dumps(_outcome_of(error))
    partial = Path(assignment.directory, OUTCOME_FILE + ".partial")
    partial.write_bytes(data)
    partial.rename(partial.with_suffix(""))
    sys.stdout.flush()
    sys.stderr.flush()
    link.send_bytes(b"done")
    # Stay until the harness ends all: the end of one task breaks the collectives of the others.
    while True:
        signal.pause()


def _outcome_of(error: BaseException) -> Outcome:
    at = time.monotonic()
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return Outcome(at=at)
    first_line = str(error).strip().partition("\n")[0]
    return Outcome(
        at=at,
        error=f"{type(error).__name__}: {first_line}",
        traceback="".join(traceback.format_exception(error)),
    )


def _redirect_output(path: Path) -> None:
    """Send descriptors 1 and 2 to a file, native output included, each line at once."""
    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]


def _die_with_parent(group_directory: Path) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    shutil.rmtree(group_directory, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def _prepare(assignment: Assignment) -> None:
    from tfdml.testing.forkserver import FROZEN_VARIABLES

    os.chdir(assignment.working_directory)
    for name in os.environ.keys() - FROZEN_VARIABLES - assignment.environment.keys():
        del os.environ[name]
    os.environ.update(assignment.environment)

    import keras  # noqa: F401  (imported here so that a broken installation shows its own traceback)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(assignment.num_threads)
    tf.config.threading.set_inter_op_parallelism_threads(assignment.num_threads)
    if assignment.num_devices > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        device = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(cpu, [device] * assignment.num_devices)


def current_task() -> tuple[str, int]:
    """Type and index of this process from TF_CONFIG; `("worker", 0)` where there is none."""
    task = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {})
    return task.get("type", "worker"), int(task.get("index", 0))
