"""docs/restarts.md: its flags exist, its loop runs, its messages and statuses are the launcher's."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from tests.docs.guides import DOCS, code_blocks
from tfdml import errors, heartbeat
from tfdml.cli.launch_flags import parser
from tfdml.heartbeat import Beat
from tfdml.launch.diagnosis import Standing, diagnose
from tfdml.launch.failure import HUNG_STATUS, Failure, status_of
from tfdml.launch.restarts import Restarts
from tfdml.launch.settings import Settings
from tfdml.launch.supervisor import RESTART_VARIABLE

TEXT = (DOCS / "restarts.md").read_text()


def test_its_flags_exist() -> None:
    known = {option for action in parser()._actions for option in action.option_strings}
    named = set(re.findall(r"--[a-z]+(?:_[a-z]+)*\b", TEXT)) - {"--requeue", "--model_dir"}
    assert len(named) > 10 and named <= known


def test_its_statuses_and_names() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (.+?) \|$", TEXT, re.M))
    assert "told to stop" in rows[str(errors.PREEMPTED_STATUS)]
    assert "a mistake" in rows[str(errors.USAGE_STATUS)]
    assert "no task got on" in rows[str(HUNG_STATUS)]
    for name in ("SIGKILL", "SIGTERM", "SIGSTOP"):
        assert re.search(rf"\b{status_of(-signal.Signals[name])}\b[^.]*{name}", TEXT)
    assert RESTART_VARIABLE in TEXT


def test_its_messages() -> None:
    killed = Failure("worker 2", -signal.SIGKILL, 0.0)
    (line,) = Restarts(Settings(max_restarts=3)).after(killed, 0).says
    assert f"tfdml launch: {line}\n" in TEXT
    beats = [Beat(9, 812, True), Beat(8, 812, False)]
    standings = [Standing(f"worker {i}", beat) for i, beat in enumerate(beats)]
    assert diagnose(standings).text in TEXT.replace("\n", " ")


def test_its_loop(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "heartbeat"
    file.write_bytes(bytes(heartbeat.NUM_BYTES))
    monkeypatch.setenv(heartbeat.VARIABLE, str(file))
    heartbeat._own.cache_clear()
    try:
        (loop,) = (block for block in code_blocks(TEXT, "python") if "beat(step)" in block)
        seen = []
        names = {
            "tfdml": __import__("tfdml"),
            "batches": range(3),
            "train_step": lambda batch: seen.append(heartbeat.read(file).is_waiting),
        }
        exec(loop, names)
    finally:
        heartbeat._own.cache_clear()
        heartbeat.faulthandler.unregister(heartbeat.STACKS_SIGNAL)
    assert seen == [True] * 3
    assert heartbeat.read(file) == Beat(count=9, step=3, is_waiting=False)
