"""Run exchanges for many steps on several replicas and note what each of them must keep to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

STEPS = 100
BAD_STEP = 50
SHAPES = ((40, 50), (3, 3, 16, 50), (7,))


def make_exchange(spec: str | Mapping[str, Any]) -> Any:
    """The exchange of `spec`; also "identity" in one of the two ways."""
    from tests.collectives.identity import Identity
    from tfdml.collectives import CompressedExchange, DenseExchange, OneShot, TwoPhase
    from tfdml.collectives.resolve import resolve_exchange

    if isinstance(spec, Mapping) and spec["name"] == "identity":
        scheme = {"one_shot": OneShot, "two_phase": TwoPhase}[spec["exchange"]]
        return CompressedExchange(scheme(Identity()), DenseExchange(), 16 * 1024)
    # Buckets of 16 KiB: there are several.
    return resolve_exchange(spec, bucket_bytes=16 * 1024)


def exchange(
    strategy_name: str, devices: int | None, specs: Sequence[str | Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Exchange gradients for 100 steps with each of `specs`, in a task; one gradient has a NaN in step 50."""
    import tfdml

    strategy = tfdml.strategies.create(
        strategy_name, tfdml.cluster.resolve(), num_virtual_devices=devices
    )
    return [_exchange(strategy, spec) for spec in specs]


def _exchange(strategy: Any, spec: str | Mapping[str, Any]) -> dict[str, Any]:
    import keras
    import tensorflow as tf

    from tfdml.collectives import ReplicaState

    state = ReplicaState()
    with strategy.scope():
        sums = make_exchange(spec)
        variables = [
            keras.Variable(np.zeros(shape, "f4"), name=f"v{number}")
            for number, shape in enumerate(SHAPES)
        ]
        sums.build(variables, state)

    @tf.function
    def step(number: tf.Tensor) -> Any:
        def on_replica() -> Any:
            context = tf.distribute.get_replica_context()
            replica = tf.cast(context.replica_id_in_sync_group, tf.int64)
            # Multiples of 1/1024: their sums are exact in any order, and 11 bits do not hold them.
            gradients = [
                tf.round(
                    8192 * tf.random.stateless_normal(v.shape, tf.stack([number, replica + 9 * i]))
                )
                / 1024
                for i, v in enumerate(variables)
            ]
            bad = tf.logical_and(tf.equal(number, BAD_STEP), tf.equal(replica, 1))
            gradients[1] = tf.where(bad, float("nan"), gradients[1])
            totals = sums.reduce(gradients, variables, step=number)
            exact = [context.all_reduce("SUM", gradient) for gradient in gradients]
            return totals, exact

        return strategy.run(on_replica)

    received = [np.zeros(shape) for shape in SHAPES]
    wanted = [np.zeros(shape) for shape in SHAPES]
    noted: dict[str, Any] = {"identical": True, "exact": True, "slots": len(state)}
    outputs = b""
    for number in range(STEPS):
        before = state.export_local()
        totals, exact = step(tf.constant(number, tf.int64))
        local = [[t.numpy() for t in strategy.experimental_local_results(v)] for v in totals]
        noted["identical"] &= all(len({v.tobytes() for v in of_one}) == 1 for of_one in local)
        totals = [of_one[0] for of_one in local]
        exact = [strategy.experimental_local_results(v)[0].numpy() for v in exact]
        outputs += b"".join(total.tobytes() for total in totals)
        if number == BAD_STEP:
            after = state.export_local()
            noted["untouched"] = all(before[k].tobytes() == after[k].tobytes() for k in before)
            noted["seen"] = not any(np.isfinite(total).any() for total in totals[:2])
            continue
        noted["exact"] &= all((a == b).all() for a, b in zip(totals, exact, strict=True))
        for index, (total, right) in enumerate(zip(totals, exact, strict=True)):
            received[index] += total
            wanted[index] += right
    noted["outputs"] = outputs
    noted["residuals"] = {
        key: value.sum(axis=0) for key, value in state.export_local().items() if "residual" in key
    }
    noted["received"], noted["wanted"] = received, wanted
    noted["wire_bytes"] = sums.wire_bytes(variables, strategy.num_replicas_in_sync, STEPS)
    return noted
