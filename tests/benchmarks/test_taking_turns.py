"""Programs that take turns: who answers, what is timed, and what happens when one does not play along."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import taking_turns
from taking_turns import Program

PROGRAM = """
import os, sys, time
sys.path.insert(0, {directory!r})
from taking_turns import Side, serve
index = int(os.environ["INDEX"])
print("noise that is no answer", flush=True)
prepared = []
def exchange():
    assert prepared.pop()
    time.sleep(0.2 * index)
serve(
    {{
        "sleeps": Side(
            lambda: {{"digest": "same", "index": index, "cores": list(os.sched_getaffinity(0))}},
            exchange,
            lambda: prepared.append(1),
        ),
        "differs": Side(lambda: {{"digest": str(index)}}),
        "dies": Side(lambda: sys.exit(f"worker {{index}} had enough")),
        "hangs": Side(lambda: time.sleep(1000)),
    }},
    {{"absent": "nobody wrote it"}},
)
"""


class Here:
    """Two processes of this host, without a link."""

    workers = 2

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen] = []

    def start(self, index: int, command, **options) -> subprocess.Popen:
        self.processes.append(subprocess.Popen(command, **options))
        return self.processes[-1]

    def environment(self, index: int) -> dict[str, str]:
        return {**os.environ, "INDEX": str(index)}


@pytest.fixture
def here() -> Iterator[Here]:
    made = Here()
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


@pytest.fixture
def program(here: Here) -> Program:
    text = PROGRAM.format(directory=str(Path(taking_turns.__file__).parent))
    cores = sorted(os.sched_getaffinity(0))
    return Program(here, [sys.executable, "-c", text], cores[:1], {}, limit_seconds=2.0)


def test_the_sides_of_a_program_and_the_findings_of_its_first_worker(program):
    assert program.sides == ["sleeps", "differs", "dies", "hangs"]
    assert program.skipped == {"absent": "nobody wrote it"}
    core = min(os.sched_getaffinity(0))
    assert program.findings("sleeps") == {"digest": "same", "index": 0, "cores": [core]}


def test_an_exchange_ends_with_the_slowest_worker_and_is_prepared_each_time(program):
    for _ in range(2):
        assert program.seconds("sleeps") >= 0.2


def test_workers_that_hold_different_bits_are_an_error(program):
    with pytest.raises(RuntimeError, match="differs: the workers hold different bits"):
        program.findings("differs")


def test_a_process_that_ends_is_named_with_its_last_words(program):
    with pytest.raises(RuntimeError, match=r"dies: worker 0 ended:\n(.|\n)*worker 0 had enough"):
        program.findings("dies")


def test_a_process_that_does_not_answer_is_not_waited_for_for_ever(program):
    with pytest.raises(RuntimeError, match="hangs: worker 0 did not answer within 2 seconds"):
        program.findings("hangs")
