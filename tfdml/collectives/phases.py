"""Different exchanges for different steps: dense at first, or a density that falls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfdml.collectives import raw
from tfdml.collectives.dense import Gradient
from tfdml.collectives.exchange import Exchange
from tfdml.collectives.replica_state import ReplicaState
from tfdml.errors import ConfigError


class PhasedExchange:
    """Uses the exchange of the phase that a step is in. All phases are in one graph, so none is traced again.

    Args:
        phases: (first step, exchange) in ascending order; the first begins at step 0.
    """

    has_momentum = False

    def __init__(self, phases: Sequence[tuple[int, Exchange]]):
        starts = [start for start, _ in phases]
        if not starts or starts[0] != 0 or sorted(set(starts)) != starts:
            raise ConfigError(
                f"phases must begin at step 0 and ascend, got {starts}. Give each its own first step."
            )
        self._starts = starts
        self._exchanges = [exchange for _, exchange in phases]

    def build(self, variables: Sequence[keras.Variable], state: ReplicaState) -> None:
        for exchange in self._exchanges:
            exchange.build(variables, state)

    def reduce(
        self,
        gradients: Sequence[Gradient],
        variables: Sequence[keras.Variable],
        *,
        step: tf.Tensor,
        learning_rate: tf.Tensor | None = None,
    ) -> list[Gradient]:
        context = tf.distribute.get_replica_context()
        if context.num_replicas_in_sync == 1:
            return list(gradients)

        # As in the optimizer: the choice is made once, where all replicas are one.
        def merge(
            strategy: tf.distribute.Strategy, gradients: Any, step: Any, learning_rate: Any
        ) -> Any:
            first = strategy.experimental_local_results(step)[0]

            def branch(exchange: Exchange) -> Any:
                def run() -> Any:
                    result = strategy.extended.call_for_each_replica(
                        lambda g, s, rate: exchange.reduce(
                            g, variables, step=s, learning_rate=rate
                        ),
                        args=(gradients, step, learning_rate),
                    )
                    return [strategy.experimental_local_results(total) for total in result]

                return run

            phase = tf.reduce_sum(tf.cast(tf.cast(first, tf.int64) >= self._starts, tf.int32)) - 1
            return tf.switch_case(phase, [branch(exchange) for exchange in self._exchanges])

        totals = context.merge_call(merge, args=(list(gradients), step, learning_rate))
        return [of_replicas[raw.local_replica()] for of_replicas in totals]

    def wire_bytes(self, variables: Sequence[keras.Variable], num_replicas: int, step: int) -> int:
        phase = sum(step >= start for start in self._starts) - 1
        return self._exchanges[phase].wire_bytes(variables, num_replicas, step)
