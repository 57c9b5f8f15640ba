"""Errors as TensorFlow 2.21 printed them when a worker or a link between workers went away."""

from __future__ import annotations

import pytest

from tfdml.cluster.lost_peers import MARK, lost_tasks, sentence
from tfdml.cluster.spec import ClusterSpec

ADDRESSES = ("n1:2222", "n2:2222", "n3:2222")

HEAD = "Graph execution error:\n\nDetected at node CollectiveReduceV2 defined at (most recent call last):\n"
TAIL = "\nThe error could be from a previous operation.\n\t [[{{node CollectiveReduceV2}}]]"
UNHEALTHY = (
    HEAD
    + "Collective ops is aborted by: Error reported from /job:worker/task:2: The following tasks are unhealthy "
    "(stopped sending heartbeats):\n/job:worker/replica:0/task:2\n/job:worker/replica:0/task:1\n"
    "The tasks have crashed. Check the task logs for an earlier error." + TAIL
)
NO_HEARTBEAT = (
    HEAD
    + "Collective ops is aborted by: Deadline Exceeded\n\nRPC: /tensorflow.CoordinationService/Heartbeat"
    + TAIL
)
RESET = (
    HEAD + "Collective ops is aborted by: recvmsg:Connection reset by peer\n"
    "Additional GRPC error information from remote target /job:worker/replica:0/task:1 while calling "
    "/tensorflow.WorkerService/RecvBuf:\n:UNKNOWN:Error received from peer  "
    '{grpc_status:14, grpc_message:"recvmsg:Connection reset by peer"}' + TAIL
)
REFUSED = (
    HEAD
    + "Collective ops is aborted by: Failed to send RPC to coordination service. Either the leader task was "
    "preempted/died/restarted unexpectedly or this task is experiencing network issues.\n"
    "Additional GRPC error information from remote target /job:worker/replica:0/task:0 while calling "
    "/tensorflow.CoordinationService/Heartbeat:\n:UNKNOWN:Error received from peer  {grpc_status:14, "
    'grpc_message:"failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:33981: Failed to '
    'connect to remote host: Connection refused"}' + TAIL
)
NO_RPC = HEAD + "Collective ops is aborted by: Failed to send RPC to coordination service." + TAIL
# Not an end of the other task, but what it broke off because of a third one.
CANCELLED = (
    HEAD + "Collective ops is aborted by: CANCELLED\n"
    "Additional GRPC error information from remote target /job:worker/replica:0/task:2 while calling "
    '/tensorflow.WorkerService/RecvBuf:\n:UNKNOWN:Error received from peer {grpc_message:"CANCELLED"}'
    + TAIL
)
PROBED = (
    HEAD + f"Collective ops is aborted by: {MARK}/job:worker/replica:0/task:1 (Deadline)" + TAIL
)
# What a third task sees, to whom the error came by way of the second.
PASSED_ON = (
    HEAD + f"Collective ops is aborted by: {MARK}/job:worker/replica:0/task:1\n"
    "Additional GRPC error information from remote target /job:worker/replica:0/task:2 while calling "
    "/tensorflow.WorkerService/RecvBuf:\n:UNKNOWN:Error received from peer" + TAIL
)
OWN_MISTAKE = (
    "Graph execution error:\n\nInput to reshape is a tensor with 3 values, but the requested shape has 2\n"
    "\t [[{{node Reshape}}]] on /job:worker/replica:0/task:1/device:CPU:0"
)


def task(index: int) -> ClusterSpec:
    return ClusterSpec({"worker": ADDRESSES}, "worker", index)


@pytest.mark.parametrize(
    ("error", "own", "expected"),
    [
        (UNHEALTHY, 0, ["worker 1", "worker 2"]),
        (NO_HEARTBEAT, 1, ["worker 0"]),
        (RESET, 0, ["worker 1"]),
        (REFUSED, 1, ["worker 0"]),
        (NO_RPC, 2, ["worker 0"]),
        (CANCELLED, 1, []),
        (PROBED, 2, ["worker 1"]),
        (PASSED_ON, 0, ["worker 1"]),
        (OWN_MISTAKE, 0, []),
        (NO_HEARTBEAT, 0, []),  # The leader does not lose itself.
        ("", 0, []),
    ],
)
def test_who_is_gone(error: str, own: int, expected: list[str]) -> None:
    assert [lost.task_name for lost in lost_tasks(error, task(own))] == expected


def test_the_sentence_has_names_addresses_and_a_cause() -> None:
    assert sentence(RESET, task(0)) == (
        "lost worker 1 (n2:2222): its process has ended. See what it printed, and start all tasks of the job "
        "again."
    )
    many = sentence(UNHEALTHY, task(0))
    assert many is not None and many.startswith("lost worker 1 (n2:2222), worker 2 (n3:2222): ")
    assert "the network in between does not answer" in many
    assert sentence(OWN_MISTAKE, task(0)) is None


def test_a_chief_leads() -> None:
    cluster = ClusterSpec({"chief": ("c:1",), "worker": ("a:1",)}, "worker", 0)
    assert [lost.task_name for lost in lost_tasks(NO_HEARTBEAT, cluster)] == ["chief 0"]


def test_a_lost_ps_is_named_without_the_tasks_that_tell_of_it() -> None:
    """Of three servers in a row, each quotes the next one's words to the chief; ps 1 is gone."""
    gone = "failed to connect to all addresses; last error: UNKNOWN: Connection refused"

    def told_by(target: str, text: str) -> str:
        return (
            f"Additional GRPC error information from remote target /job:{target} while calling /x:\n"
            f':UNKNOWN:Error received from peer  {{grpc_status:14, grpc_message:"{text}"}}'
        )

    first = told_by("ps/replica:0/task:1", gone)
    second = told_by("ps/replica:0/task:0", f"{gone}\n{first}".replace("\n", "\\n"))
    third = told_by("worker/replica:0/task:0", f"{gone}\n{second}".replace("\n", "\\n"))
    cluster = ClusterSpec({"chief": ("c:1",), "worker": ("a:1",), "ps": ("b:1", "b:2")}, "chief", 0)
    error = f"(0) UNAVAILABLE: {gone}\n{first}\n\t [[node]]\n{second}\n{third}"
    assert [lost.task_name for lost in lost_tasks(error, cluster)] == ["ps 1"]


def test_a_process_alone_loses_nobody() -> None:
    assert lost_tasks(RESET, ClusterSpec.local()) == []


def test_names_of_another_cluster_are_left_out() -> None:
    assert lost_tasks(RESET.replace("task:1", "task:9"), task(0)) == []
