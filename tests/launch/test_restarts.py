"""`tfdml launch --max_restarts`: real processes, which fail, save, get on and succeed; without TensorFlow."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.launch.launcher import Launcher, eventually, lines_of

TWO = ("--workers=2", "--start_method=spawn")
SHORT = "--restart_backoff_seconds=0.05"

WHO = """
    import json, os, pathlib, signal, sys, time
    from tfdml import heartbeat
    config = json.loads(os.environ["TF_CONFIG"])
    index = config["task"]["index"]
    start = int(os.environ["TFDML_RESTART"])
"""


def said(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The launcher's own lines about restarts, in order."""
    lines = [line.partition("tfdml launch: ")[2] for line in result.stderr.splitlines()]
    return [line for line in lines if "restart" in line or "workers" in line]


KILLED_TWICE = (
    WHO
    + """
    print("ports", config["cluster"]["worker"])
    other = pathlib.Path(sys.argv[1], f"ready-{start}")
    if start < 2:
        if index == 0:
            other.touch()
            time.sleep(1000)
        while not other.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    print("done in start", start)
"""
)


def test_all_tasks_start_again_until_they_succeed(launcher: Launcher) -> None:
    log_dir = launcher.directory / "logs"
    script = launcher.script(KILLED_TWICE)
    flags = ("--max_restarts=3", SHORT, f"--log_dir={log_dir}")
    result = launcher.run(*TWO, *flags, script, str(launcher.directory))
    assert result.returncode == 0, result.stderr
    killed = "worker 1 was ended by SIGKILL (the kernel does this when memory runs out)"
    assert said(result) == [
        f"restart 1 of 3 in 0.05 s: {killed}",
        f"restart 2 of 3 in 0.1 s: {killed}",
    ]
    for index in (0, 1):
        lines = lines_of(result.stdout, f"worker {index}")
        assert lines[-1] == "done in start 2"
        ports = [line for line in lines if line.startswith("ports")]
        assert len(ports) == len(set(ports)) == 3
        log = (log_dir / f"worker-{index}.log").read_text().splitlines()
        assert [line for line in log if not line.startswith("---")] == lines
        starts = [line for line in log if line.startswith("--- started ")]
        assert [line.partition(",")[2] for line in starts] == ["", " restart 1", " restart 2"]


def test_when_no_restart_is_left_the_last_failure_is_reported(launcher: Launcher) -> None:
    script = launcher.script(
        WHO
        + """
    if index == 1:
        raise RuntimeError(f"boom {start}")
    time.sleep(1000)
    """
    )
    result = launcher.run(*TWO, "--max-restarts=1", SHORT, script)
    assert result.returncode == 1
    assert said(result) == [
        "restart 1 of 1 in 0.05 s: worker 1 failed with exit status 1",
        "no restart: --max_restarts=1 without a step of progress are used up",
    ]
    for start in (0, 1):  # Each traceback once, also that of a failure which was not the end.
        assert (result.stdout + result.stderr).count(f"RuntimeError: boom {start}") == 1
    assert "worker 1 failed with exit status 1; its last lines:\n" in result.stderr
    assert "With --log_dir=DIR" in result.stderr.splitlines()[-1]


def test_a_job_that_gets_on_may_fail_again(launcher: Launcher) -> None:
    """Five failures with one restart: every start trains a step more than any before."""
    script = launcher.script(
        WHO
        + """
    heartbeat.beat(start + 1)
    sys.exit(3 if start < 5 else 0)
    """
    )
    result = launcher.run(*TWO, "--max_restarts=1", "--restart_backoff_seconds=0", script)
    assert result.returncode == 0, result.stderr
    assert [line.partition(":")[0] for line in said(result)] == ["restart 1 of 1 at once"] * 5


def test_a_job_that_fails_at_the_same_step_does_not_get_on(launcher: Launcher) -> None:
    script = launcher.script(WHO + "    heartbeat.beat(5); sys.exit(3)")
    result = launcher.run(*TWO, "--max_restarts=1", "--restart_backoff_seconds=0", script)
    assert result.returncode == 3 and len(said(result)) == 2


def test_a_mistake_of_the_user_is_not_repeated(launcher: Launcher) -> None:
    script = launcher.script(WHO + "    sys.exit(2)")
    result = launcher.run("--workers=2", "--start_method=spawn", "--max_restarts=3", script)
    assert result.returncode == 2
    assert said(result) == ["no restart: exit status 2 means a mistake that it would only repeat"]


PREEMPTED = (
    WHO
    + """
    directory = pathlib.Path(sys.argv[1])
    def save(signum, frame):
        time.sleep(index)  # Longer than tasks of a job that has failed are given.
        print("saved")
        sys.exit(42)
    signal.signal(signal.SIGTERM, save)
    (directory / f"ready-{start}-{index}").touch()
    while not (directory / f"ready-{start}-{1 - index}").exists():
        time.sleep(0.01)
    if start == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGTERM)
    if start > int(sys.argv[2]) >= 0:
        sys.exit(0)
    while True:
        time.sleep(0.05)
"""
)


def test_tasks_that_have_saved_start_again_at_once(launcher: Launcher) -> None:
    """All of them have the time to save, whatever the grace period: nobody waits for their end."""
    flags = ("--max_restarts=1", "--restart_backoff_seconds=1000", "--grace_period_seconds=0.1")
    script = launcher.script(PREEMPTED)
    result = launcher.run(*TWO, *flags, script, str(launcher.directory), "0")
    assert result.returncode == 0, result.stderr
    (line,) = said(result)
    assert line.startswith(
        "restart 1 of 1 at once: worker 0 ended with exit status 42: it was told"
    )
    for index in (0, 1):
        assert lines_of(result.stdout, f"worker {index}") == ["saved"]


def test_a_launcher_that_is_told_to_stop_starts_nothing_again(launcher: Launcher) -> None:
    script = launcher.script(PREEMPTED)
    process = launcher.begin(*TWO, "--max_restarts=5", script, str(launcher.directory), "-1")
    for index in (0, 1):
        launcher.wait_for(launcher.directory / f"ready-0-{index}")
    process.send_signal(signal.SIGTERM)
    result = launcher.finish(process)
    assert result.returncode == 42 and said(result) == []
    launcher.expect_nothing_left()


@pytest.mark.parametrize(("status", "expected"), [(3, 128 + signal.SIGTERM), (42, 42)])
def test_a_signal_between_two_starts_ends_the_job(
    launcher: Launcher, status: int, expected: int
) -> None:
    """It comes while the launcher waits, or while the tasks of the failed start are being ended."""
    script = launcher.script(
        WHO
        + f"""
    if index == 1:
        sys.exit({status})
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pathlib.Path(sys.argv[1]).touch()
    time.sleep(1.0 if {status} == 42 else 0.0)
    sys.exit({status})
    """
    )
    process = launcher.begin(
        *TWO,
        "--max_restarts=5",
        "--restart_backoff_seconds=1000",
        script,
        str(launcher.directory / "x"),
    )
    assert process.stderr is not None
    if status == 42:
        launcher.wait_for(launcher.directory / "x")
    else:
        while "restart 1 of 5" not in process.stderr.readline():
            pass
    process.send_signal(signal.SIGTERM)
    assert launcher.finish(process).returncode == expected
    launcher.expect_nothing_left()


def test_a_worker_that_keeps_failing_is_left_out_for_a_start(launcher: Launcher) -> None:
    """Worker 1 of 3 fails; the two that are left get on and fail; then it is back and all is well."""
    script = launcher.script(
        WHO
        + """
    size = len(config["cluster"]["worker"])
    print(start, size)
    if size == 2:
        heartbeat.beat(7)
        os.kill(os.getpid(), signal.SIGKILL)
    if start < 2 and index == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if start < 2:
        time.sleep(1000)
    """
    )
    flags = (
        "--min_workers=1",
        "--give_up_after=2",
        "--max_restarts=2",
        "--restart_backoff_seconds=0",
    )
    result = launcher.run("--workers=3", "--start_method=spawn", *flags, script)
    assert result.returncode == 0, result.stderr
    assert [line.partition(": worker 1 was")[0] for line in said(result)[:3]] == [
        "restart 1 of 2 at once",
        "worker 1 failed 2 times without progress: going on with 2 of 3 workers (--min_workers=1), until "
        "the next restart",
        "restart 2 of 2 at once",
    ]
    assert said(result)[3] == "the next start is with all 3 workers again"
    assert said(result)[4].startswith("restart 1 of 2 at once")
    # A task that is ended early may print nothing.
    sizes = {line.partition("] ")[2] for line in result.stdout.splitlines()}
    assert {"3 3"} <= sizes <= {"0 3", "1 3", "2 2", "3 3"}


def test_the_last_worker_left_is_a_cluster_still(launcher: Launcher) -> None:
    """Its script asks for a strategy of workers, as before."""
    script = launcher.script(
        WHO + "    print(len(config['cluster']['worker'])); sys.exit(3 if index == 1 else 0)"
    )
    flags = (
        "--min_workers=1",
        "--give_up_after=1",
        "--max_restarts=1",
        "--restart_backoff_seconds=0",
    )
    result = launcher.run(*TWO, *flags, script)
    assert result.returncode == 0, result.stderr
    assert lines_of(result.stdout, "worker 0")[-1] == "1"


def test_killing_a_launcher_that_restarts_leaves_nothing(launcher: Launcher) -> None:
    """No process, and no directory of heartbeats either."""
    temporary = launcher.directory / "tmp"
    temporary.mkdir()
    launcher.variables["TMPDIR"] = str(temporary)
    script = launcher.script(
        WHO
        + """
    if start == 0:
        sys.exit(3)
    heartbeat.beat(1)
    pathlib.Path(sys.argv[1], f"ready-{index}").touch()
    time.sleep(1000)
    """
    )
    process = launcher.begin(*TWO, "--max_restarts=1", SHORT, script, str(launcher.directory))
    for index in (0, 1):
        launcher.wait_for(launcher.directory / f"ready-{index}")
    assert len(list(temporary.glob("tfdml-*/*"))) == 2
    process.kill()
    process.communicate()
    launcher.expect_nothing_left()
    assert eventually(lambda: not list(temporary.iterdir()), seconds=10)


def test_a_launcher_that_ends_leaves_no_directory(launcher: Launcher, tmp_path: Path) -> None:
    temporary = launcher.directory / "tmp"
    temporary.mkdir()
    launcher.variables["TMPDIR"] = str(temporary)
    launcher.run(*TWO, launcher.script("print('ran')"))
    assert list(temporary.iterdir()) == []
