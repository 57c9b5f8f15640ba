"""Updates of rows: the native op against the same in TensorFlow's ops, and both under many threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import tensorflow as tf

from tfdml.native import functions_updates, loader, reference_updates

NATIVE, REFERENCE = functions_updates.sparse_adam, reference_updates.sparse_adam
BOTH = pytest.mark.parametrize("sparse_adam", [NATIVE, REFERENCE], ids=["native", "reference"])
ROWS = 50


@pytest.fixture(autouse=True)
def native(monkeypatch):
    """Without native ops these tests would compare the reference with itself."""
    monkeypatch.setenv("TFDML_NATIVE", "require")
    assert loader.ops() is not None


def tables(width: int, seed: int = 0) -> list[tf.Variable]:
    """A table and its averages; the second of these is not negative."""
    random = np.random.default_rng(seed)
    values = [random.normal(size=(ROWS, width)).astype("f4") for _ in range(3)]
    return [tf.Variable(value) for value in (values[0], values[1], np.square(values[2]))]


def settings(alpha=0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    names = {"alpha": alpha, "beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon}
    return {name: tf.constant(value, tf.float32) for name, value in names.items()}


@pytest.mark.parametrize("width", [1, 7, 16, 100])
@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
@pytest.mark.parametrize("count", [0, 1, 20, ROWS])
def test_native_and_reference_agree(width, dtype, count):
    random = np.random.default_rng(count)
    indices = tf.constant(random.permutation(ROWS)[:count], dtype)
    gradient = tf.constant(random.normal(size=(count, width)), tf.float32)
    ours, expected = tables(width), tables(width)
    NATIVE(*ours, gradient, indices, **settings())
    REFERENCE(*expected, gradient, indices, **settings())
    for mine, theirs in zip(ours, expected, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-6, atol=1e-7)
    untouched = np.setdiff1d(np.arange(ROWS), indices.numpy())
    for mine, before in zip(ours, tables(width), strict=True):
        np.testing.assert_array_equal(mine.numpy()[untouched], before.numpy()[untouched])


@BOTH
def test_what_was_read_before_does_not_change(sparse_adam):
    ours = tables(4)
    before = [variable.read_value() for variable in ours]
    copies = [value.numpy().copy() for value in before]
    for _ in range(2):
        sparse_adam(*ours, tf.ones([2, 4]), tf.constant([3, 1]), **settings())
    for value, copy, variable in zip(before, copies, ours, strict=True):
        np.testing.assert_array_equal(value.numpy(), copy)
        assert np.all(variable.numpy()[[1, 3]] != copy[[1, 3]])


@BOTH
def test_no_update_is_lost_among_threads(sparse_adam):
    """With betas of 0 every call subtracts exactly 1 from its rows, if it sees the averages of no other call."""
    ours = [tf.Variable(tf.zeros([ROWS, 8])) for _ in range(3)]

    @tf.function
    def step(factor, indices):
        rows = tf.fill([tf.size(indices), 8], factor)
        constants = settings(alpha=1.0, beta_1=0.0, beta_2=0.0, epsilon=0.0)
        sparse_adam(*ours, rows, indices, **constants)

    def work(number):
        # Rows 0 to 24 belong to all threads, the others to every second one.
        indices = tf.range(ROWS if number % 2 else ROWS // 2)
        for _ in range(100):
            step(tf.constant(2.0**number), indices)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = np.where(np.arange(ROWS) < ROWS // 2, -600.0, -300.0)
    np.testing.assert_array_equal(ours[0].numpy(), np.repeat(expected[:, None], 8, axis=1))


def test_bad_arguments_change_nothing():
    ours = tables(4)
    before = [variable.numpy() for variable in ours]
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"indices\[1\] = 50 is not in \[0, 50\)"
    ):
        NATIVE(*ours, tf.ones([2, 4]), tf.constant([1, ROWS]), **settings())
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"indices\[0\] = -1 is not in"):
        NATIVE(*ours, tf.ones([1, 4]), tf.constant([-1]), **settings())
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"a row of the table for each .*\[2,4\], got \[2,3\]"
    ):
        NATIVE(*ours, tf.ones([2, 3]), tf.constant([1, 2]), **settings())
    other = tf.Variable(tf.zeros([ROWS, 3]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="float32 tensors of one shape"):
        NATIVE(ours[0], other, ours[2], tf.ones([1, 4]), tf.constant([1]), **settings())
    for variable, value in zip(ours, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_other_dtypes_take_the_reference():
    ours = [tf.Variable(tf.ones([4, 2], tf.float64)) for _ in range(3)]
    constants = {name: tf.cast(value, tf.float64) for name, value in settings().items()}
    NATIVE(*ours, tf.ones([1, 2], tf.float64), tf.constant([2]), **constants)
    assert np.all(ours[0].numpy()[2] != 1) and np.all(ours[0].numpy()[[0, 1, 3]] == 1)
