"""docs/parameter-servers.md: its script trains, also with its evaluator, and its names and messages exist."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docs.guides import DOCS, SCRIPT, code_blocks
from tfdml.cli.launch_flags import parser
from tfdml.cluster.spec import ClusterSpec
from tfdml.heartbeat import Beat
from tfdml.launch.failure import Failure
from tfdml.launch.plan import Task
from tfdml.launch.replacements import Replacements
from tfdml.launch.settings import Settings

TEXT = (DOCS / "parameter-servers.md").read_text()
BEFORE = "strategy = "


def test_its_flags_exist() -> None:
    known = {option for action in parser()._actions for option in action.option_strings}
    named = set(re.findall(r"--[a-z]+(?:_[a-z]+)*\b", TEXT)) - {"--format"}
    assert len(named) >= 8 and named <= known


def test_its_message() -> None:
    cluster = ClusterSpec({"chief": ("a:1",), "worker": ("a:2", "a:3"), "ps": ("a:4",)}, "chief", 0)
    replacements = Replacements([Task(each, "x") for each in cluster.tasks()], Settings())
    killed = Failure("worker 1", -signal.SIGKILL, time.monotonic())
    (line,) = replacements.after(2, killed, Beat(1, 1, False)).says
    assert f"tfdml launch: {line}\n" in TEXT


@pytest.mark.slow
@pytest.mark.parametrize("has_evaluator", [False, True])
def test_its_script(tmp_path: Path, has_evaluator: bool) -> None:
    script, evaluator = code_blocks(TEXT, "python")
    flags = []
    if has_evaluator:
        begin, _, rest = script.partition(BEFORE)
        script = f"{begin}{evaluator}{BEFORE}{rest}"
        flags = ["--evaluator"]
    (tmp_path / SCRIPT).write_text(script)
    arguments = ["launch", *flags, "--workers=2", "--ps=2", SCRIPT]
    assert f"```\ntfdml {' '.join(arguments).replace(' --evaluator', '')}\n```" in TEXT
    done = subprocess.run(
        [sys.executable, "-m", "tfdml", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[chief 0] updates: 900\n" in done.stdout
    losses = [float(loss) for loss in re.findall(r"\bloss ([0-9.]+)", done.stdout)]
    assert len(losses) == 5 and losses[-1] < 0.5 * losses[0]
    if has_evaluator:
        assert re.search(r"\[evaluator 0\] step \d+ \[", done.stdout)
