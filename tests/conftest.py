"""What all tests share: the environment before TensorFlow is imported, no process left at the end.

Functions that run in workers (`tfdml.testing.run_workers`) are defined at the top of a test file.
Helpers that several test files share are imported as `from tests.<directory>.<module> import name`.
"""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

import psutil
import pytest

from tests.processes import leftover_processes


@pytest.fixture(autouse=True)
def no_cluster_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A TF_CONFIG in the caller's environment must not decide what a test sees."""
    monkeypatch.delenv("TF_CONFIG", raising=False)


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
