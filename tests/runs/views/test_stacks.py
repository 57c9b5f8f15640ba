"""`tfdml stacks` asks those who expect it, and nobody else; a small program plays the part of a task."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.runs.views.made_runs import MadeRun
from tfdml.cli import stacks as command
from tfdml.errors import ConfigError
from tfdml.monitoring import stacks
from tfdml.monitoring.records import Started

TASK = """
import pathlib, sys, threading, time
from tfdml.monitoring import stacks

def waits_for_data():
    print("ready", flush=True)
    time.sleep(1000)

if sys.argv[1] != "none":
    stacks.answer(pathlib.Path(sys.argv[1]))
threading.Thread(target=lambda: time.sleep(1000), daemon=True).start()
waits_for_data()
"""


@contextmanager
def task(path: Path | str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", TASK, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()


def started(model_dir: Path, pids: list[int], host: Callable[[int], str] | None = None) -> None:
    run = MadeRun(model_dir, len(pids))
    for index, pid in enumerate(pids):
        name = socket.gethostname() if host is None else host(index)
        run.write(
            Started(run.tasks[index], run.tasks, 0, 1, None, 1, None, name, pid, time.time()), index
        )


def test_all_threads_now_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with task(stacks.stacks_path(tmp_path, "worker 0")) as one:
        started(tmp_path, [one.pid])
        for _ in range(2):
            assert command.main([str(tmp_path)]) == 0
            out = capsys.readouterr().out
            assert out.startswith(f"== worker 0 (process {one.pid}, step 0)\n")
            assert out.count("in waits_for_data") == 1, "what was written before is not shown again"
            assert out.count("(most recent call first)") == 2
            assert out.index("in waits_for_data") < out.index("in <lambda>"), (
                "the main thread first"
            )
        assert one.poll() is None


def test_a_process_that_is_not_the_task_is_left_alone(tmp_path: Path) -> None:
    """It has got the number; a signal would end it. Neither has one that answers for another directory."""
    path = stacks.stacks_path(tmp_path, "worker 0")
    path.parent.mkdir(parents=True)
    path.touch()
    with task("none") as other, task(tmp_path / "elsewhere") as also:
        assert not stacks.answers(other.pid, path)
        assert not stacks.answers(also.pid, path)
        started(tmp_path, [other.pid])
        with pytest.raises(ConfigError, match=r"does not answer to .* it is another process"):
            command.main([str(tmp_path)])
        assert other.poll() is None


def test_tasks_elsewhere_and_tasks_that_are_gone_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with task(stacks.stacks_path(tmp_path, "worker 0")) as one:
        hosts = [socket.gethostname(), "far-away", socket.gethostname()]
        started(tmp_path, [one.pid, one.pid, 2**22 + 1], hosts.__getitem__)
        assert command.main([str(tmp_path)]) == command.UNANSWERED_STATUS
    captured = capsys.readouterr()
    assert "in waits_for_data" in captured.out
    assert f"worker 1 runs on host far-away; type there: tfdml stacks {tmp_path}\n" in captured.err
    assert "worker 2: does not run: lost\n" in captured.err


def test_a_task_that_is_stopped_does_not_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with task(stacks.stacks_path(tmp_path, "worker 0")) as one:
        started(tmp_path, [one.pid])
        one.send_signal(signal.SIGSTOP)
        assert command.main([str(tmp_path), "--timeout_seconds=0.3"]) == 1
        assert "did not answer within 0.3 s" in capsys.readouterr().err


def test_where_nothing_can_be_written_nobody_is_harmed() -> None:
    before = stacks._catches(os.getpid())
    stacks.answer(Path("/proc/none/worker-0.stacks"))
    assert stacks._catches(os.getpid()) == before, (
        "a signal with a handler and no file would be lost"
    )
