"""Run exchanges for many steps on several replicas and note what each of them must keep to."""

from __future__ import annotations

import hashlib
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

    def on_replica(number: tf.Tensor) -> Any:
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
        return [*totals, *context.all_reduce("SUM", gradients)]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def run(numbers: tf.Tensor) -> list[tf.Tensor]:
        """The totals and the exact sums of these steps: [steps, replicas of this task, ...] each."""
        results = [tf.TensorArray(tf.float32, tf.size(numbers)) for _ in (*SHAPES, *SHAPES)]
        for position in tf.range(tf.size(numbers)):
            values = strategy.run(on_replica, args=(numbers[position],))
            results = [
                array.write(position, tf.stack(strategy.experimental_local_results(value)))
                for array, value in zip(results, values, strict=True)
            ]
        return [array.stack() for array in results]

    before_it = run(tf.range(BAD_STEP, dtype=tf.int64))
    before = state.export_local()
    bad = [value.numpy() for value in run(tf.constant([BAD_STEP], tf.int64))]
    after = state.export_local()
    after_it = run(tf.range(BAD_STEP + 1, STEPS, dtype=tf.int64))
    values = [np.concatenate(pair) for pair in zip(before_it, after_it, strict=True)]
    totals, exact = values[: len(SHAPES)], values[len(SHAPES) :]

    digest = hashlib.sha256()
    for total in (*totals, *bad[: len(SHAPES)]):
        digest.update(total[:, 0].tobytes())
    return {
        "outputs": digest.hexdigest(),
        "identical": all(
            total[:, 0].tobytes() == total[:, replica].tobytes()
            for total in (*totals, *bad[: len(SHAPES)])
            for replica in range(total.shape[1])
        ),
        "exact": all((a[:, 0] == b[:, 0]).all() for a, b in zip(totals, exact, strict=True)),
        "untouched": all(before[key].tobytes() == after[key].tobytes() for key in before),
        "seen": not any(np.isfinite(total).any() for total in bad[:2]),
        "residuals": {
            key: value.sum(axis=0)
            for key, value in state.export_local().items()
            if "residual" in key
        },
        "received": [total[:, 0].sum(axis=0, dtype="f8") for total in totals],
        "wanted": [total[:, 0].sum(axis=0, dtype="f8") for total in exact],
        "wire_bytes": sums.wire_bytes(variables, strategy.num_replicas_in_sync, STEPS),
    }
