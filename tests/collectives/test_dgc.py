"""DGC over two workers: where its limit of the norm is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfdml.testing import run_workers

CLIPNORM = 2.0


def norms_of_sums(norms: tuple[float, ...]) -> list[float]:
    """The L2 norm of what is sent of orthogonal gradients of two replicas, for each norm of theirs together."""
    import keras
    import tensorflow as tf

    import tfdml
    from tfdml.collectives import ReplicaState
    from tfdml.collectives.resolve import resolve_exchange

    strategy = tfdml.strategies.create("multi_worker", tfdml.cluster.resolve())
    state = ReplicaState()
    options = {"name": "dgc", "density": 1.0, "warmup_steps": 0, "clipnorm": CLIPNORM}
    with strategy.scope():
        exchange = resolve_exchange(options)
        variable = keras.Variable(np.zeros((64, 64), "f4"), name="v")
        exchange.build([variable], state)

    @tf.function
    def step(norm: tf.Tensor) -> Any:
        def on_replica() -> Any:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            half = tf.one_hot(replica, 2) * norm / (2.0 * 32 * 64) ** 0.5
            gradient = tf.repeat(tf.repeat(half[:, None], 32, 0), 64, 1)
            return exchange.reduce([gradient], [variable], step=tf.constant(0, tf.int64))[0]

        return strategy.run(on_replica)

    return [float(tf.norm(strategy.experimental_local_results(step(n))[0])) for n in norms]


@pytest.mark.slow
def test_a_gradient_is_clipped_to_the_limit_and_below_it_is_not() -> None:
    for local in run_workers(norms_of_sums, 2, args=((1.0, 1.9, 2.5, 40.0),), timeout_seconds=120):
        assert local == pytest.approx([1.0, 1.9, CLIPNORM, CLIPNORM], rel=1e-5)
