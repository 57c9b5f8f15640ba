"""Which of several failures is the cause of the others, and how it is told."""

from __future__ import annotations

import signal

from tfdml.launch.failure import Failure, root_cause

LOST_PEER = "tensorflow...UnavailableError: Collective ops is aborted by: Error reported from ..."


def test_the_earliest_failure_is_the_root_cause() -> None:
    late = Failure("worker 0", 1, ended_at=2.0)
    early = Failure("worker 1", 1, ended_at=1.0)
    assert root_cause([late, early]) is early


def test_a_task_that_lost_its_peer_is_not_the_root_cause() -> None:
    victim = Failure("worker 0", 1, ended_at=1.0, last_lines=["Traceback", LOST_PEER])
    culprit = Failure("worker 1", 3, ended_at=2.0, last_lines=["ValueError: boom"])
    assert root_cause([victim, culprit]) is culprit
    assert root_cause([victim]) is victim


def test_signals_are_named_and_counted_as_shells_do() -> None:
    failure = Failure("worker 1", -signal.SIGSEGV, ended_at=0.0)
    assert failure.status == 139
    assert failure.summary() == "worker 1 was ended by SIGSEGV"
    assert "memory" in Failure("worker 1", -signal.SIGKILL, ended_at=0.0).summary()
