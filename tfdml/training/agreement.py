"""Small questions that all tasks must answer alike."""

from __future__ import annotations

import tensorflow as tf


class Agreement:
    """One tiny all-reduce over the tasks a question; none when there is one task."""

    def __init__(self, strategy: tf.distribute.Strategy):
        self._strategy = strategy
        local = len(strategy.extended.worker_devices)
        self.several_tasks = strategy.num_replicas_in_sync > local
        self._count = tf.function(self._sum, autograph=False)

    def _sum(self, vote: tf.Tensor) -> tf.Tensor:
        def on_replica() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(vote))

        return self._strategy.experimental_local_results(self._strategy.run(on_replica))[0]

    def any(self, vote: bool) -> bool:
        """Whether any task votes yes. Every task must ask at the same point."""
        if not self.several_tasks:
            return bool(vote)
        return float(self._count(tf.constant(float(bool(vote))))) > 0

    def same(self, number: int) -> bool:
        """Whether every task has the same small whole number (exact below 2^20 with 16 replicas)."""
        if not self.several_tasks:
            return True
        mean = float(self._count(tf.constant(float(number)))) / self._strategy.num_replicas_in_sync
        return not self.any(mean != float(number))

    def barrier(self) -> None:
        """Return when every task has come here."""
        self.any(False)
