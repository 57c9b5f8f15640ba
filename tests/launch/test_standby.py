"""A task that was a standby process is what `python SCRIPT` is, and has its import behind it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch.launcher import Launcher, lines_of
from tests.launch.test_fork import FIDELITY, PROCESSES, fidelity, stand_in

FLAGS = ("--workers=2", "--start_method=spawn", "--standby=2", "--max_restarts=1")
QUICK = (*FLAGS, "--restart_backoff_seconds=0")


@pytest.fixture
def quick(launcher: Launcher) -> Launcher:
    """A launcher for which `import tensorflow` is quick and leaves a file with its process's number."""
    imported = launcher.directory / "imported"
    imported.mkdir()
    stand_in(
        launcher, f"import os, pathlib; pathlib.Path({str(imported)!r}, str(os.getpid())).touch()"
    )
    return launcher


AGAIN = """
    import json, os, pathlib, signal, sys, time
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    start = int(os.environ["TFDML_RESTART"])
    imported = pathlib.Path(sys.argv[1])
    print(start, (imported / str(os.getpid())).exists(), os.environ["CUDA_VISIBLE_DEVICES"])
    if start == 0 and index == 1:
        while len(list(imported.iterdir())) < 4:  # Two that are tasks, and two that wait.
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    if start == 0:
        time.sleep(1000)
"""


def test_tasks_of_the_next_start_have_imported_already(quick: Launcher) -> None:
    quick.variables["CUDA_VISIBLE_DEVICES"] = "5,6"
    script = quick.script(AGAIN)
    result = quick.run(*QUICK, script, str(quick.directory / "imported"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "start method spawn, with standby processes" in result.stderr
    for index, gpu in ((0, "5"), (1, "6")):
        lines = lines_of(result.stdout, f"worker {index}")
        assert lines[-1] == f"1 True {gpu}"


def test_it_is_what_plain_python_runs(quick: Launcher) -> None:
    quick.variables["OMP_NUM_THREADS"] = "3"
    script = quick.script(FIDELITY)
    result = quick.run("--start_method=spawn", "--standby=1", "--max_restarts=1", script, "--flag")
    plain = subprocess.run(
        [sys.executable, script, "--flag"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            "OMP_NUM_THREADS": "3",
            "KERAS_BACKEND": "tensorflow",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": quick.variables["PYTHONPATH"],
        },
    )
    lines = lines_of(result.stdout, "worker 0")
    assert "forked True" in lines
    once = fidelity(plain.stdout.splitlines())
    assert len(once) > 5
    # It fails, so the end is in the report of the launcher, and there is a second start.
    assert fidelity(lines)[: len(once)] == once


def test_it_can_start_processes(quick: Launcher) -> None:
    result = quick.run(*QUICK, quick.script(PROCESSES))
    assert result.returncode == 0, result.stdout + result.stderr
    for index in (0, 1):
        assert lines_of(result.stdout, f"worker {index}") == ["fork 42", "spawn 42"]


def test_killing_the_launcher_leaves_no_standby(quick: Launcher) -> None:
    script = quick.script(
        "import time, pathlib, sys; pathlib.Path(sys.argv[1]).touch(); time.sleep(1000)"
    )
    ready = quick.directory / "ready"
    process = quick.begin(*QUICK, script, str(ready))
    quick.wait_for(ready)
    process.kill()
    process.communicate()
    quick.expect_nothing_left()


def test_an_import_that_crashes_is_the_end_as_without(launcher: Launcher) -> None:
    stand_in(launcher, "import os; os.abort()")
    result = launcher.run(*QUICK, launcher.script("import tensorflow"))
    assert result.returncode == 128 + signal.SIGABRT
    assert "was ended by SIGABRT" in result.stderr and "Traceback" not in result.stderr


def test_a_standby_knows_the_environment_that_imports_read(quick: Launcher, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    (quick.directory / "modules" / "tensorflow.py").write_text(
        f"import os; open({str(seen)!r}, 'a').write(os.environ['TF_ENABLE_ONEDNN_OPTS'] + '\\n')"
    )
    quick.variables["TF_ENABLE_ONEDNN_OPTS"] = "0"
    assert quick.run(*QUICK, quick.script("print('ran')")).returncode == 0
    assert set(seen.read_text().split()) == {"0"}
