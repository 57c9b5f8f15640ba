"""Which tasks an error of TensorFlow says are gone, and one sentence about them. Reads text, nothing else.

A task that loses another one is told so in one of four ways, measured with TensorFlow 2.21: the coordination
service lists tasks without a heartbeat; an RPC names its remote target; a heartbeat of this task's own gets no
answer, and then it is the leader that is gone; or `tfdml/strategies/peer_probe.py` broke the collectives off.
"""

from __future__ import annotations

import re

from tfdml.cluster.spec import TASK_TYPES, ClusterSpec
from tfdml.errors import ClusterError

MARK = "tfdml lost "  # Before the device name of a task, in the message of a probe.
_TASK = r"/job:(\w+)(?:/replica:\d+)?/task:(\d+)"
_MARKED = re.compile(MARK + _TASK)
_UNHEALTHY = re.compile(r"stopped sending heartbeats\):((?:\s+" + _TASK + r")+)")
_GONE = (
    r"Connection reset|Connection refused|Socket closed|recvmsg|sendmsg|Broken pipe|GOAWAY"
    r"|failed to connect|No route to host|unreachable|timed out|Timeout occurred|[Kk]eepalive"
)
# The line with the remote target, the one before and the one after.
_REMOTE = re.compile(rf"[^\n]*\n[^\n]*remote target {_TASK}[^\n]*(?:\n[^\n]*)?")
_LEADER = re.compile(
    r"Failed to send RPC to coordination service"
    rf"|(?:Deadline Exceeded|DEADLINE_EXCEEDED|UNAVAILABLE|{_GONE})[^\[]*CoordinationService/"
)
_ENDED = re.compile(r"Connection reset|Connection refused|Socket closed|Broken pipe|GOAWAY")


def sentence(error: str, cluster: ClusterSpec) -> str | None:
    """What to tell a person about `error` in a task of `cluster`; None where it names no lost task."""
    lost = lost_tasks(error, cluster)
    if not lost:
        return None
    names = ", ".join(f"{task.task_name} ({task.address})" for task in lost)
    why = (
        "its process has ended"
        if _ENDED.search(error) and len(lost) == 1
        else "its process, its host or the network in between does not answer"
    )
    return (
        f"lost {names}: {why}. See what {'it' if len(lost) == 1 else 'they'} printed, "
        "and start all tasks of the job again."
    )


def lost_tasks(error: str, cluster: ClusterSpec) -> list[ClusterSpec]:
    """The tasks that `error` names as gone, each as it sees the cluster; without this one."""
    if cluster.is_local:
        return []
    found: list[tuple[str, str]] = _MARKED.findall(error)
    if not found:
        for listed in _UNHEALTHY.findall(error):
            found += re.findall(_TASK, listed[0])
    if not found:
        told = [each for each in _REMOTE.finditer(error) if re.search(_GONE, each[0])]
        # A task that passes on what another one told it quotes that one's target: it is not the lost one.
        first = [each for each in told if each[0].count("remote target") == 1]
        found = [(each[1], each[2]) for each in first or told]
    if not found and _LEADER.search(error):
        leader = cluster.leader
        found = [(leader.task_type, str(leader.task_index))]
    own = (cluster.task_type, cluster.task_index)
    numbered = {(job, int(index)) for job, index in found} - {own}
    tasks = []
    for job, index in sorted(numbered, key=_in_order):
        try:
            tasks.append(cluster.with_task(job, index))
        except ClusterError:
            continue  # The text speaks of another cluster.
    return tasks


def _in_order(task: tuple[str, int]) -> tuple[int, int]:
    job, index = task
    return (TASK_TYPES.index(job) if job in TASK_TYPES else len(TASK_TYPES), index)
