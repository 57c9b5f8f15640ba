"""D12 and D20: what Keras makes of a gradient that names rows of a table."""

from __future__ import annotations

import numpy as np
import pytest

from tests.upstream.pinned import still_broken
from tfdml.testing import run_in_process

pytestmark = pytest.mark.upstream


def touch_row_0_then_row_1():
    import keras
    import tensorflow as tf

    table = keras.Variable(np.ones((3, 2), "float32"))
    optimizer = keras.optimizers.Adam(0.1)
    optimizer.build([table])
    tables = []
    for row in (0, 1):
        gradient = tf.IndexedSlices(tf.ones((1, 2)), [row], dense_shape=[3, 2])
        optimizer.apply([gradient], [table])
        tables.append(table.numpy())
    return tables


def test_adam_moves_rows_that_have_no_gradient():
    first, second = run_in_process(touch_row_0_then_row_1)
    assert np.all(first[0] != 1) and np.all(first[1:] == 1)
    assert np.all(second[1] != 1)
    still_broken(
        "D12", "tfdml/optimizers/async_rules.py", broken=bool(np.all(second[0] != first[0]))
    )


def name_a_row_twice():
    import keras
    import tensorflow as tf

    moved = []
    for indices in ([1, 1], None):
        table = keras.Variable(np.ones((3, 2), "float32"))
        optimizer = keras.optimizers.Adagrad(0.1)
        optimizer.build([table])
        values = tf.constant([[1.0, 2.0], [3.0, 4.0]])
        gradient = tf.IndexedSlices(values, indices or [0, 1], dense_shape=[3, 2])
        if indices is None:
            gradient = tf.constant([[0.0, 0.0], [4.0, 6.0], [0.0, 0.0]])
        optimizer.apply([gradient], [table])
        moved.append(table.numpy()[1])
    return moved


def test_a_row_that_is_named_twice_is_squared_twice():
    sparse, dense = run_in_process(name_a_row_twice)
    still_broken(
        "D20",
        "sum_duplicates in tfdml/optimizers/distributed.py",
        broken=not np.allclose(sparse, dense),
    )
