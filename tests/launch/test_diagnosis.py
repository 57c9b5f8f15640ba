"""Which task is said to be stuck, and when tasks count as silent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfdml import heartbeat
from tfdml.heartbeat import Beat
from tfdml.launch import heartbeats
from tfdml.launch.diagnosis import Standing, diagnose
from tfdml.launch.heartbeats import Heartbeats

WAITS, BUSY, NOTHING = Beat(9, 4, True), Beat(8, 4, False), Beat(0, 0, False)


def stuck(*beats: Beat, stopped: tuple[int, ...] = (), whole: bool = True) -> tuple[list[int], str]:
    standings = [Standing(f"worker {i}", beat, i in stopped) for i, beat in enumerate(beats)]
    found = diagnose(standings, is_whole_job=whole)
    return list(found.stuck), found.text


@pytest.mark.parametrize(
    ("beats", "expected", "text"),
    [
        (
            [WAITS, BUSY, WAITS],
            [1],
            "worker 1 (after step 4) is stuck outside of the call in which",
        ),
        ([BUSY, BUSY, WAITS], [0, 1], "worker 0 (after step 4), worker 1 (after step 4) are stuck"),
        ([WAITS, NOTHING], [1], "worker 1 (without a sign of life) is stuck outside of the call"),
        # One that never beats may be a program in which only the chief does.
        ([WAITS, BUSY, NOTHING], [1], "worker 1 (after step 4) is stuck outside"),
        ([WAITS, Beat(7, 3, True)], [1], "worker 1 (after step 3) is the furthest behind"),
        ([BUSY, Beat(9, 5, False)], [0], "worker 0 (after step 4) is the furthest behind"),
        ([WAITS, WAITS], [], "all 2 tasks have come to the same place (after step 4), so none"),
        ([BUSY], [0], "worker 0 (after step 4) is stuck"),
        ([WAITS], [0], "worker 0 (after step 4) is stuck"),
    ],
)
def test_who_is_named(beats: list[Beat], expected: list[int], text: str) -> None:
    found, said = stuck(*beats)
    assert found == expected and said.startswith(text)


def test_a_stopped_task_explains_everything() -> None:
    assert stuck(WAITS, BUSY, WAITS, stopped=(2,)) == (
        [2],
        "worker 2 has been stopped by a signal (SIGSTOP, say)",
    )
    assert stuck(WAITS, BUSY, stopped=(0, 1))[1].startswith("worker 0, worker 1 have been stopped")


def test_with_tasks_on_other_hosts() -> None:
    found, said = stuck(WAITS, WAITS, whole=False)
    assert found == [] and "wait for another host's task: see what its launcher says" in said
    assert stuck(BUSY, whole=False) == ([0], "worker 0 (after step 4) is stuck, on this host")
    assert stuck(WAITS, BUSY, whole=False)[0] == [1]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(heartbeats.time, "monotonic", lambda: now[0])
    return now


def note(path: Path, count: int, step: int = 0) -> None:
    path.write_bytes(heartbeat._NUMBERS.pack(count, step, 0))


def test_silence_is_that_of_all_and_counts_from_the_first_beat(
    tmp_path: Path, clock: list[float]
) -> None:
    files = {0: tmp_path / "0", 1: tmp_path / "1"}
    watched = Heartbeats(files, timeout_seconds=2.0)
    assert watched.look_seconds == 0.5

    def look(seconds: float) -> list[bool]:
        answers = []
        for _ in range(round(seconds / 0.5)):
            clock[0] += 0.5
            answers.append(watched.are_silent([0, 1]))
        return answers

    assert not any(look(10))  # An import may take long.
    note(files[0], 1, step=3)
    assert not any(look(2.0))
    note(files[1], 1)
    assert look(2.5) == [False] * 4 + [True]
    assert watched.furthest_step == 3


def test_time_in_which_the_launcher_stood_still_does_not_count(
    tmp_path: Path, clock: list[float]
) -> None:
    files = {0: tmp_path / "0"}
    watched = Heartbeats(files, timeout_seconds=100.0)
    note(files[0], 1)
    assert not watched.are_silent([0])
    clock[0] += 1000.0
    assert not watched.are_silent([0])
    note(files[0], 2)
    clock[0] += 1.0
    assert not watched.are_silent([0])


def test_no_limit(tmp_path: Path, clock: list[float]) -> None:
    watched = Heartbeats({0: tmp_path / "0"}, timeout_seconds=0.0)
    note(tmp_path / "0", 1)
    assert watched.look_seconds is None
    for _ in range(2):
        clock[0] += 1e6
        assert not watched.are_silent([0])
