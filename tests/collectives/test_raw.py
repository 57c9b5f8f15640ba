"""Collectives of all replicas, of those of a task, and across tasks; and the private names they stand on."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfdml.testing import run_in_process, run_workers


def collect(strategy_name: str, devices: int | None) -> list[Any]:
    """What every replica of this task got from each collective."""
    import tensorflow as tf

    import tfdml
    from tfdml.collectives import raw

    strategy = tfdml.strategies.create(
        strategy_name, tfdml.cluster.resolve(), num_virtual_devices=devices
    )
    replicas = strategy.num_replicas_in_sync

    @tf.function
    def step() -> Any:
        def on_replica() -> Any:
            context = tf.distribute.get_replica_context()
            number = tf.cast(context.replica_id_in_sync_group, tf.int32)
            own = 10 * number + tf.range(replicas)
            group = raw.everyone()
            return (
                group.all_reduce(tf.cast(own, tf.float32)),
                group.all_gather(own[None]),
                group.all_to_all(own[:, None]),
                number,
                raw.local_replica(),
                raw.within_task().all_gather(own[None]),
                raw.across_tasks().all_gather(own[None]),
            )

        return strategy.run(on_replica)

    for _ in range(3):  # Keys of collectives must not clash from one call to the next.
        values = [strategy.experimental_local_results(value) for value in step()]
    return [[np.asarray(value) for value in replica] for replica in zip(*values, strict=True)]


def check(replicas: list[Any], count: int) -> None:
    assert len(replicas) == count
    matrix = 10 * np.arange(count)[:, None] + np.arange(count)
    for summed, gathered, exchanged, number, *_ in replicas:
        np.testing.assert_array_equal(summed, matrix.sum(axis=0))
        np.testing.assert_array_equal(gathered, matrix)
        np.testing.assert_array_equal(exchanged[:, 0], matrix[:, number])


def test_replicas_of_one_process() -> None:
    replicas = run_in_process(collect, args=("mirrored", 3))
    check(replicas, 3)
    assert [int(replica[4]) for replica in replicas] == [0, 1, 2]
    for number, replica in enumerate(replicas):
        assert replica[5][:, 0].tolist() == [0, 10, 20]
        assert replica[6][:, 0].tolist() == [10 * number]


def test_two_workers_with_two_devices_each() -> None:
    tasks = run_workers(collect, 2, args=("multi_worker", 2))
    check([replica for task in tasks for replica in task], 4)
    assert [int(replica[4]) for task in tasks for replica in task] == [0, 1, 0, 1]
    for number, task in enumerate(tasks):
        for local, replica in enumerate(task):
            assert replica[5][:, 0].tolist() == [20 * number, 20 * number + 10]
            assert replica[6][:, 0].tolist() == [10 * local, 20 + 10 * local]
