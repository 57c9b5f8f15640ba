"""The compressed exchange on several replicas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfdml.testing import run_in_process, run_workers

STEPS = 100


def exchange(strategy_name: str, devices: int | None = None) -> dict[str, Any]:
    """Exchange 100 gradients of one matrix and one vector; step 50 has a NaN on replica 1."""
    import keras
    import tensorflow as tf

    import tfdml
    from tfdml.collectives import DenseExchange, OneShotExchange, ReplicaState
    from tfdml.compression import Int8

    strategy = tfdml.strategies.create(
        strategy_name, tfdml.cluster.resolve(), num_virtual_devices=devices
    )
    state, one_shot = ReplicaState(), OneShotExchange(Int8(), DenseExchange())
    with strategy.scope():
        variables = [keras.Variable(np.zeros([40, 50], "f4")), keras.Variable(np.zeros(7, "f4"))]
        one_shot.build(variables, state)

    @tf.function
    def step(number: tf.Tensor) -> Any:
        def on_replica() -> Any:
            context = tf.distribute.get_replica_context()
            replica = tf.cast(context.replica_id_in_sync_group, tf.int64)
            seed = tf.stack([number, replica])
            gradients = [
                tf.random.stateless_normal(v.shape, seed) for v in (variables[0], variables[1])
            ]
            bad = tf.logical_and(tf.equal(number, 50), tf.equal(replica, 1))
            gradients[0] = tf.where(bad, float("nan"), gradients[0])
            sums = one_shot.reduce(gradients, variables)
            exact = [context.all_reduce("SUM", g) for g in gradients]
            residual = state.zeros_like(variables[0], "residual").read_value()
            return sums, exact, context.all_reduce("SUM", residual), residual

        return strategy.run(on_replica)

    received = np.zeros([40, 50])
    wanted = np.zeros([40, 50])
    result: dict[str, Any] = {"slots": len(state)}
    sums_seen = []
    before = None
    for number in range(STEPS):
        sums, exact, total_residual, residual = step(tf.constant(number, tf.int64))
        local = [strategy.experimental_local_results(s) for s in sums]
        assert len({r.numpy().tobytes() for r in local[0]}) == 1
        sums_seen.append(local[0][0].numpy())
        residuals = [r.numpy() for r in strategy.experimental_local_results(residual)]
        if number == 50:
            result["shows_nan"] = bool(np.isnan(local[0][0].numpy()).all())
            result["untouched"] = all(
                np.array_equal(a, b) for a, b in zip(residuals, before, strict=True)
            )
            continue
        before = residuals
        received += local[0][0].numpy()
        wanted += strategy.experimental_local_results(exact[0])[0].numpy()
        np.testing.assert_allclose(
            local[1][0], strategy.experimental_local_results(exact[1])[0], rtol=1e-6
        )
    last = strategy.experimental_local_results(total_residual)[0].numpy()
    # Telescoping: what was sent in all, and what is still owed, is what was asked for.
    result["owed"] = float(np.abs(received + last - wanted).max())
    result["without_feedback"] = float(np.abs(received - wanted).max())
    result["sums"] = np.array(sums_seen).tobytes()
    return result


def check(result: dict[str, Any]) -> None:
    assert result["slots"] == 1, "the vector should travel dense"
    assert result["shows_nan"]
    assert result["untouched"]
    assert result["owed"] < 1e-4
    assert result["without_feedback"] > 1e-3


def test_error_feedback_loses_nothing_over_100_steps_on_3_replicas():
    check(run_in_process(exchange, ("mirrored", 3)))


def test_two_workers_receive_the_same_bits():
    first, second = run_workers(exchange, 2, ("multi_worker",))
    check(first)
    check(second)
    assert first["sums"] == second["sums"]


@pytest.mark.slow
def test_two_workers_of_two_devices_receive_the_same_bits():
    first, second = run_workers(exchange, 2, ("multi_worker", 2))
    check(first)
    assert first["sums"] == second["sums"]
