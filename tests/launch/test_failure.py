"""Which of several failures is the cause of the others, and how it is told."""

from __future__ import annotations

import signal

import pytest

from tfdml.cluster import ClusterSpec
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


TWO = ClusterSpec({"worker": ("n1:1", "n2:1")}, "worker", 0)
SAID = (
    "error: lost worker 1 (n2:1): its process has ended. See what it printed, and start all tasks."
)
TOLD = (
    "UnavailableError: Collective ops is aborted by: The following tasks are unhealthy "
    "(stopped sending heartbeats):",
    "/job:worker/replica:0/task:1",
)


@pytest.mark.parametrize("lines", [(SAID,), ("Traceback", *TOLD)])
def test_a_lost_peer_is_the_whole_report(lines: tuple[str, ...]) -> None:
    """As the task said it, or as a script without tfdml left it to TensorFlow."""
    failure = Failure("worker 0", 1, ended_at=0.0, last_lines=lines, cluster=TWO)
    assert failure.summary().startswith("worker 0 lost worker 1 (n2:1): its process")
    assert failure.looks_like_lost_peer and failure.needs_no_lines


def test_a_task_that_was_killed_has_lost_nobody() -> None:
    failure = Failure("worker 0", -signal.SIGKILL, 0.0, last_lines=TOLD, cluster=TWO)
    assert failure.summary().startswith("worker 0 was ended by SIGKILL")


def test_a_task_that_saved_is_told_so() -> None:
    failure = Failure("worker 0", 42, ended_at=0.0, last_lines=["saved"], cluster=TWO)
    assert "exit status 42: it was told to stop and has saved" in failure.summary()
    assert failure.needs_no_lines


def host(returncode: int, *lines: str, greeted: bool = True, is_new: bool = False) -> Failure:
    return Failure("n2", returncode, 0.0, lines, is_host=True, greeted=greeted, is_new=is_new)


def test_a_connection_that_breaks_is_not_what_training_printed_last() -> None:
    timeout = "Timeout, server n2 not responding."
    assert host(255, timeout, "[worker 1] epoch 3").summary() == (
        "the ssh connection to n2 broke (Timeout, server n2 not responding)"
    )
    assert host(255, "[worker 1] epoch 3").summary() == "the ssh connection to n2 broke"
    refused = host(255, "n2: Permission denied (publickey).", greeted=False).summary()
    assert refused.startswith(
        "n2 could not be reached by ssh (n2: Permission denied (publickey)): "
    )


def test_what_a_host_has_shown_is_not_shown_again() -> None:
    assert host(3, "[worker 1] boom").needs_no_lines
    assert not host(2, "error: port 1 of this host is taken", is_new=True).needs_no_lines
    assert host(3).summary() == "n2 failed with exit status 3"


def test_a_host_whose_task_lost_its_peer_is_not_the_root_cause() -> None:
    victim = host(1, "tfdml launch: worker 1 lost worker 0 (n1:1): its process has ended.")
    culprit = Failure("worker 0", 3, ended_at=2.0, last_lines=["ValueError: boom"])
    assert root_cause([victim, culprit]) is culprit
