"""Small questions that all tasks must answer alike."""

from __future__ import annotations

import contextlib
import functools

import tensorflow as tf

from tfdml import heartbeat
from tfdml.collectives import raw


class Agreement:
    """One tiny all-reduce over the tasks a question; none when there is one task."""

    def __init__(self, strategy: tf.distribute.Strategy):
        self._strategy = strategy
        local = len(strategy.extended.worker_devices)
        self.several_tasks = strategy.num_replicas_in_sync > local
        self.num_tasks = strategy.num_replicas_in_sync // local
        self._local = local
        self._count = tf.function(self._sum, autograph=False)
        self._numbers = tf.function(self._of_each, autograph=False)

    def _sum(self, vote: tf.Tensor) -> tf.Tensor:
        def on_replica() -> tf.Tensor:
            return raw.sum_over_replicas(tf.identity(vote))

        return self._strategy.experimental_local_results(self._strategy.run(on_replica))[0]

    def _of_each(self, number: tf.Tensor) -> tf.Tensor:
        def on_replica() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            replicas = context.num_replicas_in_sync
            own = tf.one_hot(context.replica_id_in_sync_group, replicas) * number
            return raw.sum_over_replicas(own)

        return self._strategy.experimental_local_results(self._strategy.run(on_replica))[0]

    @functools.cached_property
    def task(self) -> int:
        """The number of this task among all, in the order of their replicas."""

        def on_replica() -> tf.Tensor:
            return tf.identity(tf.distribute.get_replica_context().replica_id_in_sync_group)

        @tf.function(autograph=False)
        def ask() -> tf.Tensor:
            return self._strategy.experimental_local_results(self._strategy.run(on_replica))[0]

        return int(ask()) // self._local

    def of_each(self, number: float) -> list[float]:
        """What every task answers, in the order of tasks, as float32. Every task must ask at the same point."""
        if not self.several_tasks:
            return [number]
        with heartbeat.waiting():
            numbers = self._numbers(tf.constant(number, tf.float32)).numpy()
        return [float(value) for value in numbers[:: self._local]]

    def any(self, vote: bool) -> bool:
        """Whether any task votes yes. Every task must ask at the same point."""
        if not self.several_tasks:
            return bool(vote)
        with heartbeat.waiting():
            return float(self._count(tf.constant(float(bool(vote))))) > 0

    def same(self, number: int) -> bool:
        """Whether every task has the same whole number (exact below 2^24)."""
        return len(set(self.of_each(number))) == 1

    def barrier(self) -> None:
        """Return when every task has come here."""
        self.any(False)

    def part(self) -> None:
        """Return when every task has done its work, at the end of a piece of it.

        A task that ends its process takes its part of the cluster away from others that are still in a collective.
        Here they are in this one, which nobody needs the result of: that others have gone is no error.
        """
        with contextlib.suppress(tf.errors.OpError):
            self.barrier()


class Alone(Agreement):
    """Of a task that has nobody to ask: the coordinator of a parameter-server job."""

    several_tasks = False
    num_tasks = 1
    task = 0  # type: ignore[assignment]

    def __init__(self) -> None:
        pass
