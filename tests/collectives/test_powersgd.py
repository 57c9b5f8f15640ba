"""PowerSGD over two workers: what it sums exactly, in loops, and with and without native ops."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from tfdml.collectives.powersgd import PowerSgd
from tfdml.errors import ConfigError
from tfdml.testing import run_workers

SHAPES = ((40, 50), (3, 3, 16, 50), (40, 50))
RANK = 3
STEPS = 4


def exchanges() -> dict[str, Any]:
    """Sums of matrices of full and of low rank, by native ops, by the reference, and in a loop."""
    import tfdml

    strategy = tfdml.strategies.create("multi_worker", tfdml.cluster.resolve())
    notes = {
        "native": _exchange(strategy, low_rank=False),
        "low_rank": _exchange(strategy, low_rank=True),
        "loop": _exchange(strategy, low_rank=False, in_loop=True),
    }
    os.environ["TFDML_NATIVE"] = "off"
    notes["reference"] = _exchange(strategy, low_rank=False)
    return notes


def _exchange(strategy: Any, *, low_rank: bool, in_loop: bool = False) -> dict[str, Any]:
    import keras
    import tensorflow as tf

    from tfdml.collectives import ReplicaState
    from tfdml.collectives.resolve import resolve_exchange

    state = ReplicaState()
    with strategy.scope():
        sums = resolve_exchange(
            {"name": "powersgd", "rank": RANK, "start_step": 0}, bucket_bytes=16 * 1024
        )
        variables = [keras.Variable(np.zeros(s, "f4"), name=f"v{i}") for i, s in enumerate(SHAPES)]
        sums.build(variables, state)

    def gradient(shape: Any, seed: tf.Tensor) -> tf.Tensor:
        if not low_rank:
            return tf.random.stateless_normal(shape, seed)
        # The same columns on all replicas: the sum has no higher rank than they.
        columns = tf.random.stateless_normal([int(np.prod(shape[:-1])), RANK], [7, 7])
        rows = tf.random.stateless_normal([RANK, shape[-1]], seed)
        return tf.reshape(columns @ rows, shape)

    @tf.function
    def step(number: tf.Tensor) -> Any:
        def on_replica() -> Any:
            context = tf.distribute.get_replica_context()
            replica = tf.cast(context.replica_id_in_sync_group, tf.int64)
            gradients = [
                gradient(tuple(v.shape), tf.stack([number, replica + 9 * i]))
                for i, v in enumerate(variables)
            ]
            exact = [context.all_reduce("SUM", g) for g in gradients]
            return sums.reduce(gradients, variables, step=number), exact

        return strategy.run(on_replica)

    @tf.function
    def steps() -> Any:
        totals = [tf.zeros(s) for s in SHAPES]
        for number in tf.range(STEPS, dtype=tf.int64):
            totals = [total + local(t) for total, t in zip(totals, step(number)[0], strict=True)]
        return totals

    def local(value: Any) -> tf.Tensor:
        return strategy.experimental_local_results(value)[0]

    if in_loop:
        return {"sum": [total.numpy() for total in steps()], "state": state.export_local()}
    totals, exact = [], []
    for number in range(STEPS):
        values = step(tf.constant(number, tf.int64))
        totals.append([local(value).numpy() for value in values[0]])
        exact.append([local(value).numpy() for value in values[1]])
    return {"totals": totals, "exact": exact, "state": state.export_local()}


@pytest.fixture(scope="module")
def tasks() -> list[dict[str, Any]]:
    return run_workers(exchanges, 2, timeout_seconds=200)


@pytest.mark.parametrize("name", ["native", "reference", "low_rank"])
def test_replicas_get_the_same_bits(tasks: list[dict[str, Any]], name: str) -> None:
    first, second = (
        [total.tobytes() for totals in task[name]["totals"] for total in totals] for task in tasks
    )
    assert first == second
    assert len(set(first)) == STEPS * len(SHAPES)


def test_native_ops_and_the_reference_agree_to_rounding(tasks: list[dict[str, Any]]) -> None:
    for task in tasks:
        native, reference = task["native"], task["reference"]
        for a, b in zip(native["totals"], reference["totals"], strict=True):
            for x, y in zip(a, b, strict=True):
                np.testing.assert_allclose(x, y, rtol=0, atol=1e-4 * np.abs(y).max())
        assert native["state"].keys() == reference["state"].keys()
        for key, value in reference["state"].items():
            limit = 1e-4 * np.abs(value).max()
            np.testing.assert_allclose(native["state"][key], value, rtol=0, atol=limit)


def test_a_sum_of_low_rank_is_exact_in_the_first_step(tasks: list[dict[str, Any]]) -> None:
    # Later, what rounding has left grows: old residuals lie where Q does, and new gradients elsewhere.
    for task in tasks:
        notes = task["low_rank"]
        for total, right in zip(notes["totals"][0], notes["exact"][0], strict=True):
            np.testing.assert_allclose(total, right, rtol=0, atol=1e-4 * np.abs(right).max())


def test_steps_in_a_loop_leave_the_state_that_single_steps_leave(
    tasks: list[dict[str, Any]],
) -> None:
    for task in tasks:
        single, loop = task["native"], task["loop"]
        assert single["state"].keys() == loop["state"].keys()
        for key, value in single["state"].items():
            assert value.tobytes() == loop["state"][key].tobytes(), key
        for number, total in enumerate(loop["sum"]):
            wanted = sum(totals[number] for totals in single["totals"])
            np.testing.assert_allclose(total, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_a_matrix_whose_factors_are_more_than_half_of_it_does_not_pay() -> None:
    assert PowerSgd(rank=4).pays((2000, 2000))
    assert PowerSgd(rank=4).pays((3, 3, 64, 64))
    assert PowerSgd(rank=4).pays((16, 16))
    assert not PowerSgd(rank=4).pays((16, 15))
    assert not PowerSgd(rank=4).pays((100_000, 8))


def test_wire_bytes_are_those_of_two_ring_all_reduces() -> None:
    scheme = PowerSgd(rank=4)
    assert scheme.wire_bytes([(2000, 2000)], 2) == 4 * 4 * 4000
    assert scheme.wire_bytes([(3, 3, 64, 32), (10, 20)], 4) == 6 * 4 * 4 * (576 + 32 + 30) // 4


@pytest.mark.parametrize("rank", [0, -1, 1.5, True, "4"])
def test_a_rank_that_is_none_is_refused(rank: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"`rank` must be a whole number of at least 1, got .* default is 4"
    ):
        PowerSgd(rank=rank)
