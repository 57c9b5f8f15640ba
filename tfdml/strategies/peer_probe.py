"""Notices a task that no longer answers where TensorFlow alone would wait for ever.

TensorFlow's own heartbeats run between every task and the leader: within 10 s they tell of a task that the
leader cannot reach. They say nothing where two others cannot reach each other, and the collectives between
these two then wait until the kernel gives up, a quarter of an hour or more. So each task asks every other
one, through TensorFlow's own RPC for it, and breaks its collectives off with an error that names the
silent one. TensorFlow did so itself before it had heartbeats; this module, and no other, uses what is left
of it: `check_collective_ops_peer_health` and `abort_collective_ops` of its private eager context.
`tests/strategies/test_peer_probe.py` notices when upstream renames them.
"""

from __future__ import annotations

import atexit
import threading

import tensorflow as tf
from tensorflow.python.eager import context

from tfdml.cluster.lost_peers import MARK
from tfdml.cluster.resolver import host_of
from tfdml.cluster.spec import ClusterSpec

# Four answers missing, one a round: 16 to 20 s. More than the 10 s of TensorFlow's heartbeats, which should
# speak first where they can: they list all that are gone. A request holds Python's global lock until it is
# answered, which takes a millisecond, or times out: so it times out soon, and one silence ends a round.
INTERVAL_SECONDS = 4.0
TIMEOUT_SECONDS = 1.0
ATTEMPTS = 4
PER_ROUND = (
    32  # Of more peers, others are asked in the next round, which adds as many rounds to the bound.
)


def watch(cluster: ClusterSpec) -> PeerProbe | None:
    """A probe of the tasks that `cluster`'s task trains with; None where all are on one host.

    For a task whose strategy exists: every other one is up by then.
    """
    peers = [task for task in cluster.tasks() if task.task_type in ("chief", "worker")]
    if cluster.task_type not in ("chief", "worker"):
        return None
    if len({host_of(task.address) for task in peers}) < 2:
        return None
    return PeerProbe([task for task in peers if task != cluster])


class PeerProbe:
    """Asks `peers` in turn, in a thread of its own, until the process ends or one does not answer."""

    def __init__(self, peers: list[ClusterSpec]) -> None:
        self._peers = peers
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="tfdml peer probe")
        self._thread.start()
        # TensorFlow's context must not be taken down under a request.
        atexit.register(self.close)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5 * TIMEOUT_SECONDS)

    def abandon(self) -> None:
        """For a process that ends without taking TensorFlow down: no request needs to be waited for."""
        self._stop.set()
        atexit.unregister(self.close)

    def _run(self) -> None:
        missing = 0
        while not self._stop.wait(INTERVAL_SECONDS):
            silent = self._first_silent()
            if silent is None:
                missing = 0
                self._peers = self._peers[PER_ROUND:] + self._peers[:PER_ROUND]
                continue
            # It is asked first in the next round.
            self._peers.sort(key=lambda peer: peer != silent[0])
            missing += 1
            if missing >= ATTEMPTS and not self._stop.is_set():
                # Where the peer has ended because the job has, nothing is under way to be aborted.
                context.context().abort_collective_ops(
                    tf.errors.UNAVAILABLE, f"{MARK}{_device(silent[0])} ({silent[1]})"
                )
                return

    def _first_silent(self) -> tuple[ClusterSpec, str] | None:
        """The first peer that does not answer, and what became of the request."""
        for peer in self._peers[:PER_ROUND]:
            if self._stop.is_set():
                return None
            try:
                context.context().check_collective_ops_peer_health(
                    _device(peer), timeout_in_ms=int(TIMEOUT_SECONDS * 1000)
                )
            except tf.errors.OpError as error:
                return peer, str(error.message).partition("\n")[0]
        return None


def _device(task: ClusterSpec) -> str:
    return f"/job:{task.task_type}/replica:0/task:{task.task_index}"
