"""What all tests share: the environment before TensorFlow is imported, no process left at the end.

Functions that run in workers (`tfdml.testing.run_workers`) are defined at the top of a test file.
Helpers that several test files share are imported as `from tests.<directory>.<module> import name`.
"""

from __future__ import annotations

import os
import signal

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

# Inside a Slurm job or a pod, a test sees no other cluster than the one that it starts: a task's own TF_CONFIG comes
# before TFDML_CLUSTER. Tests of the resolvers pass an environment of their own.
os.environ.pop("TF_CONFIG", None)
os.environ["TFDML_CLUSTER"] = "local"

import psutil
import pytest

from tests.processes import leftover_processes


def pytest_configure() -> None:
    """Take the signals that tests send: a background job of a shell ignores SIGINT, nohup SIGHUP."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session if a test left a process behind; end what is left."""
    left = leftover_processes()
    for process in left:
        print(f"\nleft behind: {process.pid} {' '.join(_command(process))[:200]}")
        process.kill()
    if left and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return ["(gone)"]
