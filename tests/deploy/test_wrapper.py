"""The shell script around the launcher in a StatefulSet's pods, run as their process would be."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.reading import pods
from tests.deploy.samples import JOBS
from tfdml import deploy

SHELLS = [shell for shell in ("sh", "dash", "bash", "busybox") if shutil.which(shell)]
_SAVING = """
import os, signal, sys, time
def save(*_):
    time.sleep(0.5)  # Longer than the shell takes to be through with its trap.
    open(sys.argv[1], "w").write("saved")
    sys.exit(42)
signal.signal(signal.SIGTERM, save)
print("training", flush=True)
time.sleep(60)
"""


@pytest.fixture(params=SHELLS)
def start(request: pytest.FixtureRequest):
    """Starts the pod's command with another program in place of the launcher; ends it after the test."""
    pod = next(pods(deploy.generate("kubernetes", JOBS["workers"])))
    _, option, script, name = pod.argv[:4]
    shell = [request.param, "sh"] if request.param == "busybox" else [request.param]
    processes = []

    def run(*launcher: str) -> subprocess.Popen[str]:
        command = [*shell, option, script, name, *launcher]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("status", [1, 42, 137])
def test_a_failure_and_a_preemption_end_the_container(start, status: int) -> None:
    assert start("sh", "-c", f"exit {status}").wait(30) == status


def test_sigterm_reaches_the_launcher_which_may_take_its_time(start, tmp_path: Path) -> None:
    process = start(sys.executable, "-c", _SAVING, str(tmp_path / "saved"))
    assert process.stdout.readline() == "training\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 42
    assert (tmp_path / "saved").read_text() == "saved"


def test_after_success_the_container_stays_until_it_is_deleted(start) -> None:
    process = start("echo", "trained", "a b")
    assert process.stdout.readline() == "trained a b\n"
    assert process.stdout.readline().startswith("finished")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
