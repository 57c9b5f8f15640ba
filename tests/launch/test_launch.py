"""`tfdml launch` with real processes, signals and files; the scripts do without TensorFlow."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import sys
from pathlib import Path

import psutil
import pytest

from tests.launch.launcher import Launcher, lines_of

TWO = ("--workers=2", "--start_method=spawn")

WHO = """
    import json, os, pathlib, signal, sys, time
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
"""


def test_every_task_runs_the_script_with_its_own_tf_config(launcher: Launcher) -> None:
    script = launcher.script(
        """
        import json, os, sys
        print(json.dumps([__name__, sys.argv, sys.path[0], os.getcwd(), os.environ["TF_CONFIG"]]))
        print("to stderr", file=sys.stderr)
        print("read", repr(sys.stdin.read()))
        """
    )
    result = launcher.run(*TWO, script, "--model=a b", "--dry_run", "x")
    assert result.returncode == 0
    for index in (0, 1):
        first, *rest = lines_of(result.stdout, f"worker {index}")
        name, argv, path, cwd, tf_config = json.loads(first)
        assert name == "__main__"
        assert argv == [script, "--model=a b", "--dry_run", "x"]
        assert path == str(launcher.directory)
        assert cwd == os.getcwd()
        assert json.loads(tf_config)["task"] == {"type": "worker", "index": index}
        assert rest == ["to stderr", "read ''"]


def test_one_worker_is_a_plain_process(launcher: Launcher) -> None:
    script = launcher.script("import os; print(os.environ.get('TF_CONFIG'))")
    result = launcher.run(script)
    assert lines_of(result.stdout, "worker 0") == ["None"]


def test_only_whole_lines(launcher: Launcher) -> None:
    script = launcher.script(
        """
        import sys, time
        for i in range(20):
            for part in ("begin ", "middle ", f"end {i}\\n"):
                sys.stdout.write(part)
                sys.stdout.flush()
                time.sleep(0.002)
        sys.stdout.write("1%\\r50%\\r100%")
        """
    )
    result = launcher.run("--workers=3", "--start_method=spawn", script)
    expected = [*(f"begin middle end {i}" for i in range(20)), "1%", "100%"]
    for index in range(3):
        assert lines_of(result.stdout, f"worker {index}") == expected
    assert len(result.stdout.splitlines()) == 3 * len(expected)


def test_first_failure_ends_the_others_and_is_shown_once(launcher: Launcher) -> None:
    script = launcher.script(
        WHO
        + """
    if index == 1:
        print("about to fail")
        sys.exit(3)
    time.sleep(1000)
    """
    )
    result = launcher.run(*TWO, script)
    assert result.returncode == 3
    assert "worker 1 failed with exit status 3; its last lines:\n  about to fail\n" in result.stderr
    assert result.stderr.count("failed with") == 1


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("raise ValueError('same everywhere')", "ValueError: same everywhere"),
        ("import sys; sys.exit('error: same everywhere')", "error: same everywhere"),
        ("def (:", "SyntaxError: "),
    ],
)
def test_an_error_that_all_tasks_make_is_shown_once(
    launcher: Launcher, text: str, error: str
) -> None:
    result = launcher.run("--workers=3", "--start_method=spawn", launcher.script(text))
    assert result.returncode == 1
    assert (result.stdout + result.stderr).count(error) == 1
    assert result.stdout == ""


def test_root_cause_is_not_the_task_that_lost_its_peer(launcher: Launcher) -> None:
    script = launcher.script(
        WHO
        + """
    if index == 0:
        raise RuntimeError("UNAVAILABLE: the peer is gone")
    time.sleep(0.5)
    print("disk full")
    sys.exit(7)
    """
    )
    result = launcher.run(*TWO, script)
    assert result.returncode == 7
    assert "worker 1 failed with exit status 7" in result.stderr
    assert "disk full" in result.stderr and "the peer is gone" not in result.stderr


def test_a_task_that_a_signal_ends(launcher: Launcher) -> None:
    script = launcher.script(
        WHO
        + """
    if index == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(1000)
    """
    )
    result = launcher.run(*TWO, script)
    assert result.returncode == 128 + signal.SIGKILL
    assert "worker 0 was ended by SIGKILL" in result.stderr
    assert "printed nothing" in result.stderr


def test_a_task_that_ignores_sigterm_is_killed_after_the_grace_period(launcher: Launcher) -> None:
    script = launcher.script(
        WHO
        + """
    if index == 0:
        signal.signal(signal.SIGTERM, lambda *_: print("still here"))
        pathlib.Path(sys.argv[1]).touch()
        while True:
            time.sleep(0.1)
    while not pathlib.Path(sys.argv[1]).exists():
        time.sleep(0.01)
    sys.exit(4)
    """
    )
    marker = launcher.directory / "ready"
    log_dir = launcher.directory / "logs"
    flags = ("--grace-period-seconds=0.5", f"--log-dir={log_dir}")
    result = launcher.run(*TWO, *flags, script, str(marker))
    assert result.returncode == 4
    assert "still here" not in result.stdout  # Its peer's end is the news, not what follows.
    assert "still here" in (log_dir / "worker-0.log").read_text()


WAIT_WITH_CHILD = (
    WHO
    + """
    import subprocess
    directory = pathlib.Path(sys.argv[1])
    child = subprocess.Popen(["sleep", "1000"])
    try:
        (directory / f"ready-{index}").touch()
        time.sleep(1000)
    finally:
        (directory / f"finally-{index}").touch()
    """
)


def begin_waiting(launcher: Launcher, *flags: str):
    script = launcher.script(WAIT_WITH_CHILD)
    process = launcher.begin(*TWO, *flags, script, str(launcher.directory))
    for index in (0, 1):
        launcher.wait_for(launcher.directory / f"ready-{index}")
    return process


def test_ctrl_c_lets_tasks_clean_up_and_leaves_nothing(launcher: Launcher) -> None:
    process = begin_waiting(launcher)
    process.send_signal(signal.SIGINT)
    result = launcher.finish(process)
    assert result.returncode == 128 + signal.SIGINT
    assert result.stderr.endswith("stopped by SIGINT\n")
    assert all((launcher.directory / f"finally-{index}").exists() for index in (0, 1))
    launcher.expect_nothing_left()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_other_ends_of_the_launcher_leave_nothing(launcher: Launcher, signum: int) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # Also when these tests run under nohup.
    process = begin_waiting(launcher)
    signal.signal(signal.SIGHUP, before)
    process.send_signal(signum)
    assert launcher.finish(process).returncode == 128 + signum
    launcher.expect_nothing_left()


def test_under_nohup_a_closed_terminal_ends_nothing(launcher: Launcher) -> None:
    script = launcher.script(
        WHO
        + """
    pathlib.Path(sys.argv[1], f"ready-{index}").touch()
    while not pathlib.Path(sys.argv[1], "go").exists():
        time.sleep(0.01)
    """
    )
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = launcher.begin(*TWO, script, str(launcher.directory))
    finally:
        signal.signal(signal.SIGHUP, before)
    for index in (0, 1):
        launcher.wait_for(launcher.directory / f"ready-{index}")
    process.send_signal(signal.SIGHUP)
    (launcher.directory / "go").touch()
    assert launcher.finish(process).returncode == 0
    launcher.expect_nothing_left()


def test_second_ctrl_c_does_not_wait(launcher: Launcher) -> None:
    script = launcher.script(
        WHO
        + """
    signal.signal(signal.SIGINT, lambda *_: pathlib.Path(sys.argv[1], f"int-{index}").touch())
    pathlib.Path(sys.argv[1], f"ready-{index}").touch()
    while True:
        time.sleep(0.1)
    """
    )
    directory = launcher.directory
    process = launcher.begin(*TWO, "--grace_period_seconds=1000", script, str(directory))
    for signal_seen in ("ready", "int"):
        for index in (0, 1):
            launcher.wait_for(directory / f"{signal_seen}-{index}")
        process.send_signal(signal.SIGINT)
    assert launcher.finish(process).returncode == 128 + signal.SIGINT
    launcher.expect_nothing_left()


def test_killing_the_launcher_leaves_nothing(launcher: Launcher) -> None:
    process = begin_waiting(launcher)
    process.kill()
    process.communicate()
    launcher.expect_nothing_left()


def test_killing_the_launcher_ends_stopped_tasks_too(launcher: Launcher) -> None:
    process = begin_waiting(launcher)
    for task in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.ZombieProcess):  # A helper that has just ended.
            if "script.py" in " ".join(task.cmdline()):
                task.suspend()
    process.kill()
    process.communicate()
    launcher.expect_nothing_left()


def test_processes_that_a_task_leaves_are_ended(launcher: Launcher) -> None:
    script = launcher.script("import subprocess; subprocess.Popen(['sleep', '1000'])")
    assert launcher.run(script).returncode == 0  # `run` looks for what is left.


CLASH = (
    WHO
    + """
    marker = pathlib.Path(sys.argv[1])
    print("ports", os.environ["TF_CONFIG"])
    if index == 1:
        if sys.argv[2] == "always" or not marker.exists():
            marker.touch()
            print("UnknownError: Could not start gRPC server")
            sys.exit(1)
        sys.exit(0)
    while not (sys.argv[2] == "once" and marker.exists()):
        time.sleep(0.01)  # As a peer does: it waits for the task that failed.
    """
)


def test_a_port_clash_starts_all_tasks_again_on_new_ports(launcher: Launcher) -> None:
    marker = launcher.directory / "clashed"
    result = launcher.run(*TWO, launcher.script(CLASH), str(marker), "once")
    assert result.returncode == 0
    assert result.stderr.count("worker 1 found its port taken") == 1
    configs = [line for line in lines_of(result.stdout, "worker 1") if line.startswith("ports")]
    assert len(configs) == 2 and configs[0] != configs[1]


def test_a_port_clash_that_does_not_end_is_a_failure(launcher: Launcher) -> None:
    marker = launcher.directory / "clashed"
    result = launcher.run(*TWO, launcher.script(CLASH), str(marker), "always")
    assert result.returncode == 1
    assert result.stderr.count("all tasks start on new ports") == 3
    assert "worker 1 failed with exit status 1" in result.stderr


@pytest.mark.parametrize(
    ("flags", "script_flags", "directory"),
    [
        ((), ("--model_dir=model dir",), "model dir/logs"),
        ((), ("--model-dir", "model"), "model/logs"),
        (("--log_dir=elsewhere",), ("--model_dir=model",), "elsewhere"),
    ],
)
def test_log_files(
    launcher: Launcher, flags: tuple[str, ...], script_flags: tuple[str, ...], directory: str
) -> None:
    script = launcher.script(WHO + "    print('I am', index)")
    with launcher.begin(*TWO, *flags, script, *script_flags, cwd=launcher.directory) as process:
        result = launcher.finish(process)
    assert result.returncode == 0 and directory in result.stderr
    for index in (0, 1):
        log = launcher.directory / directory / f"worker-{index}.log"
        assert f"I am {index}" in log.read_text().splitlines()


def test_without_a_directory_no_files_are_written(launcher: Launcher) -> None:
    script = launcher.script("print('x')")
    with launcher.begin(*TWO, script, cwd=launcher.directory) as process:
        launcher.finish(process)
    assert [path.name for path in launcher.directory.iterdir()] == ["script.py"]


def test_a_closed_output_ends_the_job(launcher: Launcher) -> None:
    script = launcher.script("import time\nwhile True: print('y'); time.sleep(0.01)")
    process = launcher.begin(*TWO, script)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    error = process.stderr.read()
    assert process.wait() == 1
    assert "nobody reads the output" in error and "Traceback" not in error
    process.stderr.close()
    launcher.expect_nothing_left()


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colour_on_a_terminal(launcher: Launcher, no_color: str, coloured: bool) -> None:
    launcher.variables["NO_COLOR"] = no_color
    script = launcher.script("print('text')")
    pid, terminal = pty.fork()
    if pid == 0:
        environ = {**os.environ, **launcher.variables}
        os.execve(sys.executable, [sys.executable, "-m", "tfdml", "launch", script], environ)
    shown = b""
    try:
        while data := os.read(terminal, 1024):
            shown += data
    except OSError:
        pass  # How Linux tells that the other end of a terminal has been closed.
    os.waitpid(pid, 0)
    os.close(terminal)
    assert (b"\x1b[36m[worker 0]\x1b[0m text" in shown) is coloured
    assert b"[worker 0]" in shown


def test_paths_with_spaces(launcher: Launcher, tmp_path: Path) -> None:
    directory = tmp_path / "my experiments"
    directory.mkdir()
    spaced = Launcher(directory)
    result = spaced.run(*TWO, spaced.script("print('ran')", "my script.py"))
    assert lines_of(result.stdout, "worker 1") == ["ran"]


def test_dry_run_starts_nothing_and_prints_lines_for_a_shell(launcher: Launcher) -> None:
    launcher.variables["CUDA_VISIBLE_DEVICES"] = "0,1"
    script = launcher.script("import os; open('ran', 'w'); print(os.environ['TF_CONFIG'])")
    with launcher.begin(
        *TWO, "--dry-run", "--gpus-per-worker=1", script, "a b", cwd=launcher.directory
    ) as process:
        result = launcher.finish(process)
    assert result.returncode == 0
    assert not (launcher.directory / "ran").exists()
    comments = [line for line in result.stdout.splitlines() if line.startswith("#")]
    commands = [line for line in result.stdout.splitlines() if not line.startswith("#")]
    assert len(comments) == len(commands) == 2
    assert "CUDA_VISIBLE_DEVICES=1" in commands[1] and commands[1].endswith("'a b'")
    # What a person would paste runs as that task.
    shown = os.popen(f"cd '{launcher.directory}' && {commands[1]}").read()
    assert json.loads(shown)["task"] == {"type": "worker", "index": 1}
