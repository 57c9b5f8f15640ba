"""A forked task is what `python SCRIPT` is, and starts again without a second import."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch.launcher import Launcher, eventually, lines_of

TWO = ("--workers=2", "--start_method=fork")


@pytest.fixture
def quick(launcher: Launcher) -> Launcher:
    """A launcher for which `import tensorflow` takes no time: these tests are about processes."""
    stand_in(launcher, "")
    return launcher


def stand_in(launcher: Launcher, text: str) -> None:
    """Let `import tensorflow` run `text`."""
    directory = launcher.directory / "modules"
    directory.mkdir()
    (directory / "tensorflow.py").write_text(text)
    (directory / "keras.py").touch()
    launcher.variables["PYTHONPATH"] = str(directory)


FIDELITY = """
    import atexit, concurrent.futures, multiprocessing, os, pickle, sys, threading
    had_tensorflow = "tensorflow" in sys.modules

    class Local:
        pass

    if __name__ == "__main__":
        atexit.register(print, "atexit")
        concurrent.futures.ThreadPoolExecutor().submit(print, "thread of a pool").result()
        threading.Timer(0.2, lambda: print("thread")).start()
        assert type(pickle.loads(pickle.dumps(Local()))) is Local
        print("forked", had_tensorflow)
        print("argv", sys.argv)
        print("path", sys.path[0])
        print("file", __file__)
        print("environment", os.environ["OMP_NUM_THREADS"], os.environ["KERAS_BACKEND"])
        print("start method", multiprocessing.get_start_method())
        print("stdin", repr(sys.stdin.read()))
        sys.exit("the end")
"""


def fidelity(lines: list[str]) -> list[str]:
    """What must be the same however the script was started."""
    return [line for line in lines if not line.startswith("forked")]


def test_a_forked_script_is_what_plain_python_runs(launcher: Launcher) -> None:
    launcher.variables["OMP_NUM_THREADS"] = "3"
    script = launcher.script(FIDELITY)
    result = launcher.run(*TWO, script, "--flag")
    plain = subprocess.run(
        [sys.executable, script, "--flag"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"OMP_NUM_THREADS": "3", "KERAS_BACKEND": "tensorflow", "PYTHONUNBUFFERED": "1"},
    )
    assert result.returncode == plain.returncode == 1
    ends = [lines_of(result.stdout, f"worker {index}") for index in (0, 1)]
    whole = max(ends, key=len)  # The other one may have been ended before it was through.
    assert "forked True" in whole
    assert fidelity(whole) == fidelity(plain.stdout.splitlines())


def test_tasks_draw_different_random_numbers(launcher: Launcher) -> None:
    stand_in(launcher, "import numpy.random")
    script = launcher.script("import numpy, random; print(numpy.random.rand(), random.random())")
    result = launcher.run("--workers=3", "--start_method=fork", script)
    drawn = [number for line in result.stdout.splitlines() for number in line.split()[2:]]
    assert len(drawn) == len(set(drawn)) == 6


def test_a_traceback_names_only_the_script(quick: Launcher) -> None:
    script = quick.script("def f():\n    raise ValueError('boom')\n\nf()\n")
    result = quick.run(*TWO, script)
    assert result.returncode == 1
    assert (result.stdout + result.stderr).count("ValueError: boom") == 1
    assert result.stderr.count("  File ") == 2
    assert result.stderr.count(f'File "{script}"') == 2


CLASH_ONCE = """
    import json, os, pathlib, sys
    if json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1:
        marker = pathlib.Path(sys.argv[1])
        print("parent", os.getppid())
        if not marker.exists():
            marker.touch()
            sys.exit("Could not start gRPC server")
"""


def test_a_new_start_comes_from_the_same_warm_process(quick: Launcher, tmp_path: Path) -> None:
    result = quick.run(*TWO, quick.script(CLASH_ONCE), str(tmp_path / "clashed"))
    assert result.returncode == 0
    lines = lines_of(result.stdout, "worker 1")
    parents = [line for line in lines if line.startswith("parent")]
    assert len(parents) == 2 and parents[0] == parents[1]


def test_a_restart_comes_from_the_same_warm_process(quick: Launcher) -> None:
    script = quick.script(
        """
        import json, os, signal
        index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
        print("parent", os.getppid(), "start", os.environ["TFDML_RESTART"])
        if index == 1 and os.environ["TFDML_RESTART"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    result = quick.run(*TWO, "--max_restarts=1", "--restart_backoff_seconds=0", script)
    assert result.returncode == 0, result.stderr
    (first, second) = (line.split() for line in lines_of(result.stdout, "worker 1"))
    assert first[1] == second[1] and (first[3], second[3]) == ("0", "1")


def test_killing_the_launcher_leaves_no_temporary_directory(quick: Launcher) -> None:
    """Not that of the forkserver's sockets either."""
    temporary = quick.directory / "tmp"
    temporary.mkdir()
    quick.variables["TMPDIR"] = str(temporary)
    process = quick.begin(*TWO, quick.script(WAIT), str(quick.directory))
    for index in (0, 1):
        quick.wait_for(quick.directory / f"ready-{index}")
    assert len(list(temporary.iterdir())) == 2
    process.kill()
    process.communicate()
    quick.expect_nothing_left()
    assert eventually(lambda: not list(temporary.iterdir()), seconds=10)


WAIT = """
    import json, os, pathlib, subprocess, sys, time
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    child = subprocess.Popen(["sleep", "1000"])
    pathlib.Path(sys.argv[1], f"ready-{index}").touch()
    time.sleep(1000)
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT])
def test_the_end_of_the_launcher_leaves_nothing(quick: Launcher, signum: int) -> None:
    process = quick.begin(*TWO, quick.script(WAIT), str(quick.directory))
    for index in (0, 1):
        quick.wait_for(quick.directory / f"ready-{index}")
    process.send_signal(signum)
    result = quick.finish(process)
    assert result.returncode == (-signum if signum == signal.SIGKILL else 128 + signum)
    quick.expect_nothing_left()


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_an_end_during_the_import_leaves_nothing(launcher: Launcher, signum: int) -> None:
    ready = launcher.directory / "importing"
    stand_in(
        launcher, f"import pathlib, time; pathlib.Path({str(ready)!r}).touch(); time.sleep(1000)"
    )
    process = launcher.begin(*TWO, launcher.script("raise AssertionError('was started')"))
    launcher.wait_for(ready)
    process.send_signal(signum)
    result = launcher.finish(process)
    assert "was started" not in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    launcher.expect_nothing_left()


def test_a_launcher_killed_before_the_import_leaves_nothing(launcher: Launcher) -> None:
    starting = launcher.directory / "starting"
    stand_in(launcher, "import time; time.sleep(1000)")
    slow_start = f"""
        import pathlib, sys, time
        if "multiprocessing.forkserver" in " ".join(sys.orig_argv):
            pathlib.Path({str(starting)!r}).touch()
            time.sleep(1)
    """
    launcher.script(slow_start, "modules/sitecustomize.py")
    process = launcher.begin(*TWO, launcher.script(""))
    launcher.wait_for(starting)
    process.kill()
    launcher.finish(process)
    launcher.expect_nothing_left()


def test_an_import_that_fails_is_the_scripts_to_report(launcher: Launcher) -> None:
    stand_in(launcher, "raise RuntimeError('built for another processor')")
    fine = launcher.run(*TWO, launcher.script("print('needs no TensorFlow')"))
    assert fine.returncode == 0
    failed = launcher.run(*TWO, launcher.script("import tensorflow"))
    assert failed.returncode == 1
    assert failed.stderr.count("RuntimeError: built for another processor") == 1


def test_an_import_that_crashes_is_an_error_with_a_remedy(launcher: Launcher) -> None:
    stand_in(launcher, "import os; os.abort()")
    result = launcher.run(*TWO, launcher.script("raise AssertionError('was started')"))
    assert result.returncode == 1
    assert result.stderr.count("--start_method=spawn may show why") == 1
    assert "Traceback" not in result.stderr


PROCESSES = """
    import multiprocessing, sys

    def answer(queue):
        queue.put(42)

    if __name__ == "__main__":
        for method in ("fork", "spawn"):
            context = multiprocessing.get_context(method)
            queue = context.Queue()
            process = context.Process(target=answer, args=(queue,))
            process.start()
            print(method, queue.get())
            process.join()
"""


def test_a_forked_script_can_start_processes(quick: Launcher) -> None:
    result = quick.run(*TWO, quick.script(PROCESSES))
    assert result.returncode == 0
    for index in (0, 1):
        assert lines_of(result.stdout, f"worker {index}") == ["fork 42", "spawn 42"]
