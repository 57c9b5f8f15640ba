"""Tasks that get on no more are shown, named and ended; without TensorFlow, whose part a sleep plays."""

from __future__ import annotations

import signal

import pytest

from tests.launch.launcher import Launcher, eventually, lines_of
from tfdml.launch.heartbeats import is_stopped

TWO = ("--workers=2", "--start_method=spawn")
SOON = "--hang_timeout_seconds=0.6"

# Worker 1 does `FAULT` after step 3, and worker 0 waits for it.
TRAIN = """
    import json, os, pathlib, signal, sys, threading, time
    from tfdml import heartbeat
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    start = int(os.environ["TFDML_RESTART"])

    def callback():
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()

    for step in range(1, 7):
        with heartbeat.waiting():
            time.sleep(0.1)
        heartbeat.beat(step)
        if step == 3 and start == 0:
            if index == 1:
                FAULT
            with heartbeat.waiting():
                time.sleep(1000)
    print("trained")
"""
STOP = "os.kill(os.getpid(), signal.SIGSTOP)"


def test_a_deadlock_is_named_with_its_stack_and_started_again(launcher: Launcher) -> None:
    log_dir = launcher.directory / "logs"
    flags = (SOON, "--max_restarts=1", "--restart_backoff_seconds=0", f"--log_dir={log_dir}")
    result = launcher.run(*TWO, *flags, launcher.script(TRAIN.replace("FAULT", "callback()")))
    assert result.returncode == 0, result.stderr
    assert (
        "tfdml launch: restart 1 of 1 at once: no task got on for 0.6 s (--hang_timeout_seconds): worker 1 "
        "(after step 3) is stuck outside of the call in which the others wait; see the stacks above\n"
    ) in result.stderr
    for index, function in ((0, "<module>"), (1, "callback")):
        log = (log_dir / f"worker-{index}.log").read_text()
        for shown in (log, "\n".join(lines_of(result.stdout, f"worker {index}"))):
            assert "(most recent call first):" in shown
            assert f" in {function}" in shown
        assert log.splitlines()[-1] == "trained"
    assert " in callback" not in (log_dir / "worker-0.log").read_text()


def test_without_restarts_a_hang_ends_the_job_with_a_status_of_its_own(launcher: Launcher) -> None:
    """A single task; and forked, because that is another way to its standard error."""
    script = launcher.script(
        """
        import threading
        from tfdml import heartbeat
        def helper():
            threading.Event().wait()
        threading.Thread(target=helper, daemon=True).start()
        heartbeat.beat(4)
        threading.Event().wait()
        """
    )
    modules = launcher.directory / "modules"
    modules.mkdir()
    for name in ("tensorflow", "keras"):
        (modules / f"{name}.py").touch()
    launcher.variables["PYTHONPATH"] = str(modules)
    result = launcher.run("--start_method=fork", SOON, script)
    assert result.returncode == 124
    assert result.stderr.splitlines()[-1] == (
        "tfdml launch: no task got on for 0.6 s (--hang_timeout_seconds): worker 0 (after step 4) is stuck; "
        "see the stacks above."
    )
    shown = lines_of(result.stdout, "worker 0")
    assert any(" in helper" in line for line in shown) and any(
        "script.py" in line for line in shown
    )


def test_a_task_that_a_signal_has_stopped_is_named(launcher: Launcher) -> None:
    result = launcher.run(*TWO, SOON, launcher.script(TRAIN.replace("FAULT", STOP)))
    assert result.returncode == 124
    assert "worker 1 has been stopped by a signal (SIGSTOP, say); see" in result.stderr
    assert any("(most recent call first)" in line for line in lines_of(result.stdout, "worker 0"))


LOST = """
    import json, os, pathlib, signal, sys, time
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    ready = pathlib.Path(sys.argv[1], "ready")
    if index == 1:
        ready.touch()
        os.kill(os.getpid(), signal.SIGSTOP)
    while not ready.exists():
        time.sleep(0.01)
    time.sleep(0.2)
    sys.exit("UnavailableError: Socket closed")
"""


def test_a_stopped_task_that_the_others_lost_is_the_root_cause(launcher: Launcher) -> None:
    """As under TensorFlow, whose heartbeat ends the others. Nobody waits for it to notice SIGTERM."""
    arguments = ("--grace_period_seconds=1000", launcher.script(LOST), str(launcher.directory))
    result = launcher.run(*TWO, *arguments)
    assert result.returncode == 128 + signal.SIGSTOP
    assert result.stderr.splitlines()[-1] == (
        "tfdml launch: worker 1 has been stopped by a signal (SIGSTOP, say), and worker 0 lost it."
    )


def test_a_stopped_task_may_save_when_the_job_is_told_to_stop(launcher: Launcher) -> None:
    script = launcher.script(
        """
        import os, pathlib, signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(42))
        pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)
        while True:
            time.sleep(0.05)
        """
    )
    ready = launcher.directory / "ready"
    process = launcher.begin("--grace_period_seconds=1000", script, str(ready))
    launcher.wait_for(ready)
    assert eventually(lambda: ready.read_text() != "")
    assert eventually(lambda: is_stopped(int(ready.read_text())))
    process.send_signal(signal.SIGTERM)
    assert launcher.finish(process).returncode == 42
    launcher.expect_nothing_left()


@pytest.mark.parametrize(
    ("flag", "beats"), [("--hang_timeout_seconds=0.2", False), ("--hang_timeout_seconds=0", True)]
)
def test_what_is_not_watched(launcher: Launcher, flag: str, beats: bool) -> None:
    """Programs that never beat, and those for which nobody wants it."""
    script = launcher.script(
        f"""
        import time
        from tfdml import heartbeat
        if {beats}:
            heartbeat.beat(1)
        time.sleep(1)
        """
    )
    assert launcher.run(flag, script).returncode == 0


def test_tasks_that_get_on_are_left_alone(launcher: Launcher) -> None:
    """Two that take turns with long silences: it is all of them that must be silent."""
    script = launcher.script(
        """
        import json, os, time
        from tfdml import heartbeat
        index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
        for step in range(4):
            time.sleep(0.3)
            if step % 2 == index:
                heartbeat.beat(step)
        """
    )
    assert launcher.run(*TWO, "--hang_timeout_seconds=1.0", script).returncode == 0
