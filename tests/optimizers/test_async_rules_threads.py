"""Many threads update the same variables at once, and nothing is lost."""

from __future__ import annotations

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.optimizers.test_async_rules import OPTIMIZERS
from tfdml.optimizers.async_rules import increment, rule_for

THREADS, STEPS = 6, 50
# Large enough for a thread to be interrupted in the middle.
SHAPE = (2000, 8)
NAMES = ["sgd", "momentum", "nesterov", "adagrad", "adam_exact", "ftrl"]


def gradient(sparse: bool):
    """The same in every step, so that only their number matters; exact in binary."""
    values = tf.fill(SHAPE, 0.5)
    return tf.IndexedSlices(values, tf.range(SHAPE[0]), SHAPE) if sparse else values


def trained(
    name: str, sparse: bool, threads: int
) -> tuple[keras.optimizers.Optimizer, keras.Variable]:
    """THREADS * STEPS updates, by one thread or by many."""
    table = keras.Variable(np.ones(SHAPE, "f4"))
    optimizer = OPTIMIZERS[name]()
    optimizer.build([table])
    rule = rule_for(optimizer)
    rate = tf.constant(2.0**-6)

    @tf.function
    def step():
        number = increment(optimizer.iterations)
        rule.apply(gradient(sparse), table, step=number, learning_rate=rate)

    step.get_concrete_function()
    running = [
        threading.Thread(target=lambda: [step() for _ in range(THREADS * STEPS // threads)])
        for _ in range(threads)
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return optimizer, table


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "rows"])
@pytest.mark.parametrize("name", NAMES)
def test_many_threads_do_what_one_does(name, sparse):
    """Slots see the same gradients in whatever order. The steps of Adagrad and Adam depend on it a little."""
    optimizer, table = trained(name, sparse, THREADS)
    expected, alone = trained(name, sparse, 1)
    assert int(optimizer.iterations.numpy()) == THREADS * STEPS
    for slot, reference in zip(optimizer.variables[2:], expected.variables[2:], strict=True):
        np.testing.assert_array_equal(slot.numpy(), reference.numpy(), err_msg=slot.path)
    if name in ("adagrad", "adam_exact"):
        moved = 1 - alone.numpy()
        np.testing.assert_allclose(1 - table.numpy(), moved, rtol=0.05)
    else:
        np.testing.assert_array_equal(table.numpy(), alone.numpy())


def test_sums_are_exact():
    for sparse in (False, True):
        _, table = trained("sgd", sparse, THREADS)
        np.testing.assert_array_equal(table.numpy(), 1 - THREADS * STEPS * 0.5 * 2.0**-6)
        optimizer, _ = trained("adagrad_from_zero", sparse, THREADS)
        np.testing.assert_array_equal(optimizer.variables[2].numpy(), THREADS * STEPS * 0.25)


def test_every_call_of_increment_gets_a_number_of_its_own():
    counter = keras.Variable(0, dtype="int64")
    compiled = tf.function(lambda: increment(counter))
    numbers: list[int] = []
    running = [
        threading.Thread(target=lambda: numbers.extend(int(compiled()) for _ in range(200)))
        for _ in range(THREADS)
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert sorted(numbers) == list(range(1, 200 * THREADS + 1))


def test_scatter_sub_alone_would_lose_updates():
    """Why the rules do not use it: ResourceScatterSub locks for reading only. Where it loses none, it may be used."""
    table = tf.Variable(tf.zeros(SHAPE))
    indices, ones = tf.range(SHAPE[0]), tf.ones(SHAPE)

    @tf.function
    def step():
        tf.raw_ops.ResourceScatterSub(resource=table.handle, indices=indices, updates=ones)

    for _ in range(20):
        table.assign(tf.zeros(SHAPE))
        running = [threading.Thread(target=lambda: [step() for _ in range(100)]) for _ in range(8)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        if not np.all(table.numpy() == -800):
            return
    pytest.skip("no update was lost in 20 tries: too few cores")
