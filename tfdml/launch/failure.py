"""What a failed task's end and last lines mean, and how to say it."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from tfdml.cluster import lost_peers
from tfdml.cluster.spec import ClusterSpec
from tfdml.errors import PREEMPTED_STATUS, USAGE_STATUS

SSH_STATUS = 255  # Of ssh itself.
HUNG_STATUS = 124  # As of the command `timeout`.
# What TensorFlow prints in a task whose peer is gone: the end of a connection, of a heartbeat, or
# of a collective that another task has broken off.
_PEER_LOST = re.compile(
    r"UnavailableError|UNAVAILABLE|Socket closed|Connection reset by peer|Connection refused"
    r"|failed to connect to all addresses|heartbeat|AbortedError|ABORTED|CancelledError|CANCELLED"
    r"|[Cc]ollective ops is aborted|coordination service|RPC response deadline"
)
# What a task prints that knows better: tfdml/strategies/lost_peers.py.
_SENTENCE = re.compile(r"error: (lost (?:chief|worker|ps) \d+ \(.*)")
_LOST = re.compile(
    r"\blost (?:chief|worker|ps) \d+ \("
)  # The same, as another launcher passes it on.
# What ssh itself prints of the end of a connection, among what the host has printed.
_SSH_LINE = re.compile(r"Timeout, server|Connection (?:to|reset|closed)|client_loop|ssh: ")
_PORT_CLASH = "Could not start gRPC server"


@dataclass(frozen=True)
class Failure:
    """A task that failed. `returncode` is negative for a signal; `ended_at` in seconds.

    `cluster` is the task's, as it sees it; None where `task_name` is a host with a launcher of its own.
    `is_new` says whether the last lines have not been shown yet, `greeted` whether such a launcher ran.
    `told` is what this launcher has found out itself, of a task that it ended: then it is the summary.
    """

    task_name: str
    returncode: int
    ended_at: float
    last_lines: Sequence[str] = ()
    cluster: ClusterSpec | None = None
    is_host: bool = False
    is_new: bool = True
    greeted: bool = False
    told: str = ""

    @property
    def is_preempted(self) -> bool:
        """Whether the task was asked to stop, by somebody else, and has saved."""
        return self.returncode == PREEMPTED_STATUS

    @property
    def is_usage(self) -> bool:
        """Whether it is a mistake that another start would only repeat."""
        return self.returncode == USAGE_STATUS

    @property
    def status(self) -> int:
        """As a shell counts: 128 + n for signal n."""
        return status_of(self.returncode)

    @property
    def is_port_clash(self) -> bool:
        return any(_PORT_CLASH in line for line in self.last_lines)

    @property
    def lost_peers(self) -> str | None:
        """Which other tasks this one found gone, as a sentence, where that is why it ended."""
        if self.told or self.is_host or self.returncode < 0:
            return None
        said = [found[1] for line in self.last_lines if (found := _SENTENCE.match(line))]
        if said or self.cluster is None:
            return said[-1] if said else None
        return lost_peers.sentence("\n".join(self.last_lines), self.cluster)

    @property
    def looks_like_lost_peer(self) -> bool:
        """Whether the task may only have failed because another one had gone."""
        if self.told or self.is_preempted:
            return False
        return self.lost_peers is not None or any(
            _PEER_LOST.search(line) or _LOST.search(line) for line in self.last_lines
        )

    @property
    def needs_no_lines(self) -> bool:
        """Whether the summary says all there is to say, or the rest is on the console already."""
        known = self._is_of_ssh or self.is_preempted or self.lost_peers is not None
        return bool(self.told) or known or (self.is_host and not self.is_new)

    def summary(self) -> str:
        """What happened and what to do about it, in one line."""
        if self.is_preempted:
            return f"{self.cause()}; start the job again and it goes on"
        if self.lost_peers and not self.told:
            return f"{self.task_name} {self.lost_peers}"
        return self.cause()

    def cause(self) -> str:
        """What happened, for a line that says what comes next."""
        if self.told:
            return self.told
        if self._is_of_ssh:
            return self._ssh_summary()
        if self.is_preempted:
            return (
                f"{self.task_name} ended with exit status {self.returncode}: it was told to stop and has "
                "saved"
            )
        if self.lost_peers:
            return f"{self.task_name} {self.lost_peers.partition('. ')[0]}"
        if self.returncode >= 0:
            return f"{self.task_name} failed with exit status {self.returncode}"
        name = signal.Signals(-self.returncode).name
        if self.is_host:
            return f"the ssh connection to {self.task_name} was ended by {name}"
        hint = " (the kernel does this when memory runs out)" if name == "SIGKILL" else ""
        return f"{self.task_name} was ended by {name}{hint}"

    @property
    def _is_of_ssh(self) -> bool:
        return self.is_host and self.returncode == SSH_STATUS

    def _ssh_summary(self) -> str:
        said = [line.strip() for line in self.last_lines if line.strip()]
        if self.greeted:
            said = [line for line in said if _SSH_LINE.match(line)]
        why = f" ({said[-1].rstrip('.')})" if said else ""
        if self.greeted:
            return f"the ssh connection to {self.task_name} broke{why}"
        return (
            f"{self.task_name} could not be reached by ssh{why}: "
            f"`ssh -o BatchMode=yes {self.task_name} true` must work there without a question"
        )


def status_of(returncode: int) -> int:
    return returncode if returncode >= 0 else 128 - returncode


def root_cause(failures: Sequence[Failure]) -> Failure:
    """The failure that the others follow from: the earliest that no lost peer explains.

    A task that could not save explains more than those beside it that could.
    """

    def rank(failure: Failure) -> tuple[bool, bool, float]:
        return failure.looks_like_lost_peer, failure.is_preempted, failure.ended_at

    return min(failures, key=rank)
