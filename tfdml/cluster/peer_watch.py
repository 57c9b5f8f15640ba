"""Names the tasks that do not answer yet, and why, while TensorFlow waits for them without a word."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence

from tfdml.cluster.resolver import host_of
from tfdml.cluster.spec import ClusterSpec

REPORT_SECONDS = 30.0
_RETRY_SECONDS = 1.0
_CONNECT_SECONDS = 2.0
_SHOWN = 8  # Of many that are silent, the first few say enough.


def awaited_by(cluster: ClusterSpec) -> list[ClusterSpec]:
    """The tasks that `cluster`'s task cannot begin without, and that listen at their addresses.

    An evaluator needs nobody, and nobody needs it. With parameter servers the chief listens to no one.
    """
    if cluster.is_local or cluster.task_type == "evaluator":
        return []
    jobs = ("worker", "ps") if "ps" in cluster.jobs else ("chief", "worker")
    return [task for task in cluster.tasks() if task.task_type in jobs and task != cluster]


def why_silent(address: str) -> str | None:
    """Why nobody accepts a connection at `address`, in a few words; None where somebody does."""
    host, port = host_of(address), int(address.rpartition(":")[2])
    try:
        socket.create_connection((host, port), _CONNECT_SECONDS).close()
    except socket.gaierror:
        return "no such host name"
    except ConnectionRefusedError:
        return "nothing listens there yet"
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


class PeerWatch:
    """Connects to every one of `peers` until each has answered once, in a thread of its own.

    `say` gets a line every `report_seconds` while some do not answer; `give_up` gets one after
    `timeout_seconds` (None: never), and the watch ends.
    """

    def __init__(
        self,
        peers: Sequence[ClusterSpec],
        *,
        say: Callable[[str], None],
        timeout_seconds: float | None = None,
        give_up: Callable[[str], None] = lambda text: None,
        remedy: str = "",
        report_seconds: float = REPORT_SECONDS,
    ) -> None:
        self._peers = list(peers)
        self._timeout_seconds = timeout_seconds
        self._report_seconds = report_seconds
        self._say = say
        self._give_up = give_up
        self._remedy = remedy
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="tfdml peer watch")
        self._thread.start()

    @property
    def is_watching(self) -> bool:
        """Whether there is still a task to wait for."""
        return self._thread.is_alive()

    def close(self) -> None:
        self._stop.set()

    def _watch(self) -> None:
        start = time.monotonic()
        next_report = self._report_seconds
        while not self._stop.is_set():
            silent = {}
            for peer in self._peers:
                reason = why_silent(peer.address)
                if reason is not None:
                    silent[peer.task_name, peer.address] = reason
            self._peers = [p for p in self._peers if (p.task_name, p.address) in silent]
            waited = time.monotonic() - start
            if not silent or self._stop.is_set():
                return
            if self._timeout_seconds is not None and waited >= self._timeout_seconds:
                self._give_up(
                    f"{_shown(silent)} did not answer within {waited:.0f} s ({_reasons(silent)}): "
                    f"{self._remedy}."
                )
                return
            if waited >= next_report:
                self._say(f"waiting for {_shown(silent)} for {waited:.0f} s ({_reasons(silent)})")
                next_report = waited + self._report_seconds
            self._stop.wait(_RETRY_SECONDS)


def _shown(silent: dict[tuple[str, str], str]) -> str:
    names = [f"{name} at {address}" for name, address in silent]
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join(names[:_SHOWN] + more)


def _reasons(silent: dict[tuple[str, str], str]) -> str:
    return " or ".join(dict.fromkeys(silent.values()))
