"""Children that answer, crash, hang, and lose their parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.processes import wait_for_file
from tfdml.doctor.child import Child

MODULE = "tests.doctor.children"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


@pytest.fixture
def child(request: pytest.FixtureRequest) -> Iterator[Child]:
    with closing(Child(MODULE, request.param, os.environ)) as made:
        yield made


def told(**order: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("child", [order], indirect=True)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def wait_until_gone(*pids: int) -> None:
    while not all(map(gone, pids)):  # The test runner's time limit bounds this.
        time.sleep(0.02)


@told(a=[1, "zwei"])
def test_it_answers(child):
    assert child.wait_for("done", 30)
    answer = child.answer(30)
    assert answer.failure == ""
    assert answer.values["received"] == {"a": [1, "zwei"]} and answer.values["done"]
    assert answer.output == "printed by the child"


@told(then="raise")
def test_an_exception(child):
    answer = child.answer(30)
    assert answer.failure == "ended with status 1 while it was doing what it was told"
    assert answer.output.splitlines()[-1] == "ValueError: something is wrong"
    assert answer.values["stdout_is_free"] and "done" not in answer.values
    assert not child.wait_for("done", 30)  # At once: nobody is there who could say it.


@told(then="exit")
def test_an_exit_with_a_sentence_has_no_traceback(child):
    answer = child.answer(30)
    assert answer.failure.startswith("ended with status 1")
    assert answer.output == "printed by the child\none sentence"


@told(then="crash")
def test_a_crash(child):
    assert child.answer(30).failure == "ended by SIGILL while it was doing what it was told"


def test_a_child_that_hangs_is_ended_with_what_it_has_started(tmp_path):
    order = {"then": "sleep", "file": str(tmp_path / "pids")}
    with closing(Child(MODULE, order, os.environ)) as child:
        wait_for_file(tmp_path / "pids")
        assert child.answer(0.2).failure.startswith("did not finish within 0 s while it was doing")
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        wait_until_gone(*pids)


def test_closing_ends_it(tmp_path):
    order = {"then": "sleep", "file": str(tmp_path / "pids")}
    with closing(Child(MODULE, order, os.environ)):
        wait_for_file(tmp_path / "pids")
    wait_until_gone(*map(int, (tmp_path / "pids").read_text().split()))


def test_a_module_that_is_not_there():
    with closing(Child("tfdml.doctor.nothing", {}, os.environ)) as child:
        answer = child.answer(30)
    assert answer.failure == "ended with status 1"
    assert answer.output.endswith("No module named 'tfdml.doctor.nothing'")


def test_it_ends_when_its_parent_is_killed(tmp_path):
    order = json.dumps({"then": "sleep", "file": str(tmp_path / "pids")})
    code = f"import json, os, sys; sys.path[:] = json.loads({json.dumps(sys.path)!r})\n"
    code += f"from tfdml.doctor.child import Child\nChild({MODULE!r}, {order}, os.environ)\n"
    code += "import time; time.sleep(600)"
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_for_file(tmp_path / "pids")
    while not (pids := (tmp_path / "pids").read_text().split()):
        time.sleep(0.01)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until_gone(*map(int, pids))
