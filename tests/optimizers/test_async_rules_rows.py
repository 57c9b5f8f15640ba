"""Asynchronous rules on `tf.IndexedSlices`: the rows that are named, and no other."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.optimizers.test_async_rules import OPTIMIZERS
from tfdml.optimizers.async_rules import increment, rule_for

DECAYING = {"adamw", "sgd_decay"}
ROWS, WIDTH, STEPS = 10, 3, 12
TOUCHED = [7, 2, 5]
SIZE = tf.constant([ROWS, WIDTH])


def slices(step: int) -> tf.IndexedSlices:
    """Row 7 comes twice."""
    values = np.random.default_rng(step).normal(size=(4, WIDTH)).astype("f4")
    return tf.IndexedSlices(tf.constant(values), tf.constant([7, 2, 5, 7]), SIZE)


def dense(gradient: tf.IndexedSlices) -> np.ndarray:
    result = np.zeros((ROWS, WIDTH), "f4")
    np.add.at(result, gradient.indices.numpy(), gradient.values.numpy())
    return result


def built(name: str) -> tuple[keras.optimizers.Optimizer, keras.Variable]:
    table = keras.Variable(np.random.default_rng(9).normal(size=(ROWS, WIDTH)).astype("f4"))
    optimizer = OPTIMIZERS[name]()
    optimizer.build([table])
    return optimizer, table


def compiled(optimizer: keras.optimizers.Optimizer, variable: keras.Variable):
    rule = rule_for(optimizer)

    @tf.function
    def step(gradient):
        number = increment(optimizer.iterations)
        (gradient,) = rule.clip([gradient])
        done = rule.apply(gradient, variable, step=number, learning_rate=tf.constant(0.1))
        with tf.control_dependencies([done]):  # as `asynchronous.py` waits for it
            return tf.identity(number)

    return step


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in DECAYING])
def test_named_rows_are_updated_as_by_the_dense_gradient(name):
    ours, table = built(name)
    theirs, expected = built(name)
    before = [v.numpy() for v in (table, *ours.variables[2:])]
    step, dense_step = compiled(ours, table), compiled(theirs, expected)
    for number in range(STEPS):
        step(slices(number))
        dense_step(tf.constant(dense(slices(number))))
    others = np.setdiff1d(np.arange(ROWS), TOUCHED)
    for mine, reference, first in zip(
        (table, *ours.variables[2:]), (expected, *theirs.variables[2:]), before, strict=True
    ):
        np.testing.assert_allclose(
            mine.numpy()[TOUCHED], reference.numpy()[TOUCHED], rtol=1e-5, atol=1e-6
        )
        np.testing.assert_array_equal(mine.numpy()[others], first[others])
        assert np.all(mine.numpy()[TOUCHED] != first[TOUCHED])


def test_an_empty_gradient_changes_nothing():
    for name in ("sgd", "momentum", "adagrad", "adam", "ftrl"):
        optimizer, table = built(name)
        before = [v.numpy() for v in (table, *optimizer.variables[2:])]
        gradient = tf.IndexedSlices(tf.zeros((0, WIDTH)), tf.zeros(0, tf.int32), SIZE)
        rule_for(optimizer).apply(
            gradient, table, step=tf.constant(1, tf.int64), learning_rate=tf.constant(0.1)
        )
        for variable, value in zip((table, *optimizer.variables[2:]), before, strict=True):
            np.testing.assert_array_equal(variable.numpy(), value)
