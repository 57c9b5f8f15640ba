"""Who is named, and why, by anatomies that are made up."""

from __future__ import annotations

import numpy as np

from tfdml.monitoring.records import Anatomy, TaskAnatomy
from tfdml.monitoring.stragglers import Stragglers

USUAL = {"input": 1e-4, "computing": 5e-3, "waiting": 0.0, "communicating": 1e-3, "host": 3e-4}
FACTS = {
    "seconds": 1.0,
    "cpu_seconds": 1.0,
    "run_queue_seconds": 0.05,
    "other_cpu_seconds": 0.2,
    "sent_bytes": 1e7,
}


def anatomy(step, *tasks):
    made = []
    for number, changes in enumerate(tasks):
        parts = USUAL | {k: v for k, v in changes.items() if k in USUAL} | {"unexplained": 0.0}
        facts = FACTS | {k: v for k, v in changes.items() if k in FACTS}
        made.append(TaskAnatomy(f"worker {number}", sum(parts.values()), parts, facts))
    return Anatomy(step, 0, made, 0.0)


def events(*tasks, rates=None, times=6):
    found = Stragglers()
    none = np.zeros((len(tasks), len(tasks)))
    return [
        event
        for step in range(times)
        for event in found.look(anatomy(step, *tasks), none if rates is None else rates)
    ]


def test_nobody_is_named_who_is_within_the_limit():
    assert not events({}, {"computing": 6e-3}, {})
    assert not events({})
    assert not events({"waiting": 40e-3}, {"host": 3e-3, "waiting": 40e-3}), "it hardly matters"


def test_the_causes():
    for changes, cause in (
        ({"input": 4e-3}, "input"),
        ({"computing": 9e-3}, "slower device"),
        ({"computing": 9e-3, "run_queue_seconds": 0.9}, "CPU contention"),
        ({"host": 4e-3}, "host"),
    ):
        for tasks in (({}, changes), ({}, changes, {})):
            (event,) = events(*tasks)
            assert (event.task, event.cause) == ("worker 1", cause)
            assert event.message.startswith("worker 1 is a straggler") and cause in event.message


def test_all_threads_short_of_cores_is_no_reason_for_one_of_them():
    (event,) = events(
        {"run_queue_seconds": 0.9},
        {"computing": 9e-3, "run_queue_seconds": 0.9},
        {"run_queue_seconds": 0.9},
    )
    assert event.cause == "slower device"


def test_a_slow_link_is_found_by_what_its_tasks_have_in_common():
    slow = {"communicating": 20e-3}
    fast, slowly = 1e9, 2e7
    # A ring of three: each sends to the next; what goes to and from worker 1 is slow.
    ring = np.array([[0, slowly, 0], [0, 0, slowly], [fast, 0, 0]])
    (event,) = events(slow, slow, slow, rates=ring)
    assert (event.task, event.cause) == ("worker 1", "slow link")
    assert "20 MB/s" in event.message
    # Of two tasks, the one that sends slowly.
    (event,) = events(slow, slow, rates=np.array([[0, slowly], [fast, 0]]))
    assert event.task == "worker 0"
    assert not events(slow, slow, rates=np.array([[0, fast], [fast, 0]]))
    little = {"sent_bytes": 1e5}
    assert not events(little, little, rates=np.array([[0, slowly], [fast, 0]])), (
        "it does not matter"
    )


def test_only_what_lasts_is_told_once_and_its_end_too():
    found, none = Stragglers(), np.zeros((2, 2))
    looks = [{"input": 4e-3}, {}, {}, {}, *[{"input": 4e-3}] * 5, *[{}] * 4]
    told = []
    for step, changes in enumerate(looks):
        told += [(e.kind, e.step) for e in found.look(anatomy(step, {}, changes), none)]
    assert told == [("straggler", 6), ("straggler_gone", 11)]
