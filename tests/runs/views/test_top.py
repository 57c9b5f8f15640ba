"""`tfdml top`."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from tests.runs.views.made_runs import MadeRun, finished_run, running_run
from tfdml.cli import top
from tfdml.errors import ConfigError
from tfdml.monitoring.records import Ended
from tfdml.runs.views.job import Job
from tfdml.runs.views.series import Series
from tfdml.runs.views.spark import part_bar, spark_line
from tfdml.runs.views.top import Frame

COMMAND = (sys.executable, "-m", "tfdml", "top")


def test_a_frame_of_a_finished_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert top.main([str(finished_run(tmp_path)), "--once"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"finished +2 tasks, 2 replicas, global batch size 64", out)
    assert "step 30 of 30   epoch 3 of 3   1,000 examples/s" in out
    rows = [line.split() for line in out.splitlines() if line.startswith("worker ")]
    assert [row[:5] for row in rows] == [
        ["worker", "0", "finished", "30", "10"],
        ["worker", "1", "finished", "30", "10"],
    ]
    # 10 ms are 36 characters: 1 of input, 4 of computing, 2 of waiting, 2 of communicating, and two halves.
    assert rows[0][5] == "iiii" + 14 * "c" + 7 * "w" + 7 * "x" + "hh" + "uu"
    assert re.search(r"^loss +0\.04979 +[▁▂▃▄▅▆▇]+$", out, re.M)
    assert re.search(r"^loss, validation +0\.07468 +[▁▂▃▄▅▆▇]+$", out, re.M)
    assert not any(line.endswith(" ") for line in out.splitlines())


def test_stragglers_and_events_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = running_run(tmp_path)
    run.event(12, "straggler", "worker 1", "input", "worker 1 is [bold]slow[/bold]: 12 ms a step")
    top.main([str(tmp_path), "--once"])
    out = capsys.readouterr().out
    assert re.search(r"^worker 1 .*straggler: input$", out, re.M)
    assert "step 12  worker 1 is [bold]slow[/bold]: 12 ms a step" in out
    assert "   1 s to go" in out  # 15 steps at 15.6 a second


def test_one_sentence_where_there_is_no_run(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert re.fullmatch(r"error: [^\n]*: no run to be seen there\. [^\n]*\n", done.stderr)


def test_looking_needs_a_time() -> None:
    with pytest.raises(ConfigError, match="must be positive, got -1"):
        top.main(["runs", "--every_seconds=-1"])


def test_it_follows_the_job_until_ctrl_c(tmp_path: Path) -> None:
    """In a terminal; without TensorFlow."""
    run = running_run(tmp_path)
    probe = (
        "import sys, atexit; from tfdml.cli.main import main\n"
        "atexit.register(lambda: print('loaded:', 'tensorflow' in sys.modules))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", probe, "top", str(tmp_path), "--every_seconds=0.1"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "140", "LINES": "40"},
    )
    os.close(theirs)
    try:
        seen = _read_until(ours, b"step 15 of 30")
        run.train(15, 21)
        seen = _read_until(ours, b"step 21 of 30")
        process.send_signal(signal.SIGINT)
        seen = _read_until(ours, b"loaded: False")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"Traceback" not in seen


def _read_until(fd: int, text: bytes) -> bytes:
    seen, deadline = b"", time.monotonic() + 60
    while text not in seen:
        assert time.monotonic() < deadline, seen
        try:
            seen += os.read(fd, 65536)
        except OSError:  # the other end is closed
            break
    assert text in seen, seen
    return seen


def test_a_spark_line_is_lowest_where_the_values_are() -> None:
    series = Series()
    for step, value in enumerate((4.0, 1.0, float("nan"), 2.5, float("inf"))):
        series.add(step, value)
    assert spark_line(series, 10) == "▇▁ ▄ "
    flat = Series()
    flat.add(1, 2.0)
    flat.add(2, 2.0)
    assert spark_line(flat, 10) == "▁▁"
    assert spark_line(Series(), 10) == ""


def test_a_bar_never_grows_by_rounding() -> None:
    parts = dict.fromkeys(("input", "computing", "waiting", "communicating", "host"), 0.0013)
    bar = part_bar({**parts, "unexplained": -0.0001}, longest=0.0065, width=7, colours=False)
    assert len(bar.plain) == 7
    assert len(part_bar(parts, longest=0.013, width=20, colours=False).plain) == 10
    assert part_bar({"computing": None}, longest=0.0, width=7, colours=True).plain == ""


def test_of_many_tasks_a_screen_shows_those_in_trouble(tmp_path: Path) -> None:
    run = MadeRun(tmp_path, 40)
    run.step_seconds, run.time = 0.001, time.time() - 0.01
    run.start(pid=os.getpid())
    run.train(0, 5)
    run.event(4, "straggler", "worker 33", "slow link", "worker 33 is behind a slow link")
    run.write(Ended(5, "failed", "a mistake", run.time), 21)
    frame = Frame(Job(tmp_path), run.time)
    console = Console(width=140, height=30, file=io.StringIO(), force_terminal=True)
    lines = console.render_lines(frame, console.options.update(height=30), pad=False)
    text = "\n".join("".join(segment.text for segment in line) for line in lines)
    named = re.findall(r"^worker (\d+) ", text, re.M)
    assert len(named) == 8
    assert {"0", "21", "33"} <= set(named)
    assert "32 more tasks" in text
    console.print(frame)
    assert len(re.findall(r"worker \d+ +\S", console.file.getvalue())) >= 40
