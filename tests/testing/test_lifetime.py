"""No process outlives its test: not a killed worker's children, not those of a killed test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from tests.processes import wait_for_file
from tfdml.testing import WorkerError, current_task, start_workers


def start_a_child_and_hang(directory):
    child = subprocess.Popen(["sleep", "300"])
    index = current_task()[1]
    partial = Path(directory, f"{index}.partial")
    partial.write_text(f"{os.getpid()} {child.pid}")
    partial.rename(Path(directory, f"{index}.pids"))
    time.sleep(60)


def test_kill_one_worker_and_end_the_rest_with_their_children(tmp_path):
    with start_workers(start_a_child_and_hang, args=(str(tmp_path),)) as workers:
        pids = [pid for i in (0, 1) for pid in wait_for_pids(tmp_path / f"{i}.pids")]
        workers[1].kill(signal.SIGKILL)
        with pytest.raises(WorkerError, match="worker 1 failed first: it was killed by SIGKILL"):
            workers.wait()
        assert workers[1].exit_code == -signal.SIGKILL
        assert not workers[0].finished
        workers[0].kill(signal.SIGTERM)
        with pytest.raises(WorkerError, match=r"worker 0 failed, not as the first: .* SIGTERM"):
            workers.wait_for(0)
    assert_gone(pids)


def test_killed_test_process_leaves_nothing(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            from tests.testing.test_lifetime import start_a_child_and_hang
            from tfdml.testing import run_workers

            if __name__ == "__main__":
                run_workers(start_a_child_and_hang, args=({str(tmp_path)!r},))
            """
        )
    )
    root = str(Path(__file__).parents[2])
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "PYTHONPATH": root, "TMPDIR": str(temporary)}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment, cwd=root)
    try:
        pids = [pid for i in (0, 1) for pid in wait_for_pids(tmp_path / f"{i}.pids")]
        helpers = [p.pid for p in psutil.Process(parent.pid).children()]
    finally:
        parent.kill()
        parent.wait()
    assert_gone(pids + helpers)
    assert list(temporary.glob("tfdml-testing-*")) == []


@pytest.mark.slow
def test_an_open_group_does_not_outlive_its_process(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            from tests.testing.test_lifetime import start_a_child_and_hang, wait_for_pids
            from tfdml.testing import start_workers
            from pathlib import Path

            if __name__ == "__main__":
                start_workers(start_a_child_and_hang, 1, args=({str(tmp_path)!r},))
                wait_for_pids(Path({str(tmp_path)!r}, "0.pids"))
            """
        )
    )
    root = str(Path(__file__).parents[2])
    subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": root},
        cwd=root,
        timeout=120,
        check=True,
    )
    assert_gone(wait_for_pids(tmp_path / "0.pids"))


def wait_for_pids(path: Path) -> list[int]:
    """The two pids that `start_a_child_and_hang` writes."""
    wait_for_file(path)
    return [int(pid) for pid in path.read_text().split()]


def assert_gone(pids: list[int]) -> None:
    processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(processes, timeout=10)
    alive = [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert alive == []
