"""What a failed task's end and last lines mean, and how to say it."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

# What TensorFlow prints in a task whose peer is gone: the end of a connection, of a heartbeat, or
# of a collective that another task has broken off.
_PEER_LOST = re.compile(
    r"UnavailableError|UNAVAILABLE|Socket closed|Connection reset by peer|Connection refused"
    r"|failed to connect to all addresses|heartbeat|AbortedError|ABORTED|CancelledError|CANCELLED"
    r"|[Cc]ollective ops is aborted|coordination service|RPC response deadline"
)
_PORT_CLASH = "Could not start gRPC server"


@dataclass(frozen=True)
class Failure:
    """A task that failed. `returncode` is negative for a signal; `ended_at` in seconds."""

    task_name: str
    returncode: int
    ended_at: float
    last_lines: Sequence[str] = ()

    @property
    def status(self) -> int:
        """As a shell counts: 128 + n for signal n."""
        return self.returncode if self.returncode >= 0 else 128 - self.returncode

    @property
    def is_port_clash(self) -> bool:
        return any(_PORT_CLASH in line for line in self.last_lines)

    @property
    def looks_like_lost_peer(self) -> bool:
        """Whether the task may only have failed because another one had gone."""
        return any(_PEER_LOST.search(line) for line in self.last_lines)

    def summary(self) -> str:
        """What happened, in one line without an end."""
        if self.returncode >= 0:
            return f"{self.task_name} failed with exit status {self.returncode}"
        name = signal.Signals(-self.returncode).name
        hint = " (the kernel does this when memory runs out)" if name == "SIGKILL" else ""
        return f"{self.task_name} was ended by {name}{hint}"


def root_cause(failures: Sequence[Failure]) -> Failure:
    """The failure that the others follow from: the earliest that no lost peer explains."""
    in_order = sorted(failures, key=lambda failure: failure.ended_at)
    return next((f for f in in_order if not f.looks_like_lost_peer), in_order[0])
