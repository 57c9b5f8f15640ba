"""The launcher under real collectives: tasks that reduce together, and what the end of one does."""

from __future__ import annotations

import os
import signal

import pytest

from tests.launch.launcher import Launcher, eventually, lines_of
from tests.launch.scripts import ALL_REDUCE

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_tasks_of_one_host_reduce_together(launcher: Launcher, start_method: str) -> None:
    script = launcher.script(ALL_REDUCE)
    result = launcher.run("--workers=2", f"--start_method={start_method}", script)
    assert result.returncode == 0, result.stdout
    for index in (0, 1):
        assert "sum 11.0" in lines_of(result.stdout, f"worker {index}")


def test_a_worker_that_dies_is_the_root_cause_and_not_its_peer(launcher: Launcher) -> None:
    """The peers of a killed worker fail too, with long tracebacks, or survive SIGTERM."""
    script = launcher.script(ALL_REDUCE)
    flags = ("--workers=2", "--grace_period_seconds=2")
    process = launcher.begin(*flags, script, "forever", str(launcher.directory))
    for index in (0, 1):
        launcher.wait_for(launcher.directory / f"pid-{index}")
    pid_file = launcher.directory / "pid-1"
    assert eventually(lambda: bool(pid_file.read_text()))
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    result = launcher.finish(process)
    assert result.returncode == 128 + signal.SIGKILL
    assert "worker 1 was ended by SIGKILL" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    launcher.expect_nothing_left()


def test_ctrl_c_ends_training(launcher: Launcher) -> None:
    script = launcher.script(ALL_REDUCE)
    process = launcher.begin("--workers=2", script, "forever", str(launcher.directory))
    for index in (0, 1):
        launcher.wait_for(launcher.directory / f"pid-{index}")
    process.send_signal(signal.SIGINT)
    result = launcher.finish(process)
    assert result.returncode == 128 + signal.SIGINT
    assert "Traceback" not in result.stdout + result.stderr
    launcher.expect_nothing_left()


def test_a_port_that_is_taken_when_tensorflow_wants_it(launcher: Launcher) -> None:
    script = launcher.script(ALL_REDUCE)
    result = launcher.run("--workers=2", script, "clash", str(launcher.directory))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "worker 1 found its port taken; all tasks start on new ports" in result.stderr
    for index in (0, 1):
        assert "sum 11.0" in lines_of(result.stdout, f"worker {index}")
