"""What a graph computes of an order is what `order.py` says, and TensorFlow's permutation is the one we know."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.data.test_order import ORDERS, SIZES
from tfdml.data import in_graph, permutation, permutation_in_graph
from tfdml.data.augment import seeds
from tfdml.data.order import Order, Slice

INT64 = tf.TensorSpec([], tf.int64)


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_the_same_records(order: Order):
    @tf.function(input_signature=[INT64, INT64, INT64])
    def in_a_graph(epoch, step, rows):
        tables = in_graph.tables_of(order, epoch)
        places = step * order.global_batch_size + tf.range(rows)
        return in_graph.records_at(order, tables, epoch, places)

    for epoch in (0, 1, 2**33):
        for step in range(order.steps_per_epoch):
            expected = order.draw(epoch, step)
            ids, visits = in_a_graph(epoch, step, order.rows(step))
            assert ids.numpy().tolist() == expected.ids.tolist()
            assert visits.numpy().tolist() == expected.visits.tolist()


@pytest.mark.parametrize("size", SIZES)
def test_the_same_permutation(size):
    index = np.random.default_rng(size).integers(0, size, 200)
    key = permutation.key_of(-4, permutation.OF_EPOCH, 2**40)
    expected = permutation.permuted(index, size, key).tolist()
    in_graph_key = permutation_in_graph.key_of(
        -4, permutation.OF_EPOCH, tf.constant(2**40, tf.int64)
    )
    assert in_graph_key.numpy().tolist() == list(key)
    assert (
        permutation_in_graph.permuted(tf.constant(index), size, in_graph_key).numpy().tolist()
        == expected
    )
    sizes = tf.fill([len(index)], tf.constant(size, tf.int64))
    keys = tf.tile(in_graph_key[None], [len(index), 1])
    assert (
        permutation_in_graph.permuted(tf.constant(index), sizes, keys).numpy().tolist() == expected
    )


def test_tensorflow_has_not_changed_its_permutation():
    """A change would change the order of every data set between two versions, in the middle of a training too."""
    found = tf.raw_ops.RandomIndexShuffle(
        index=tf.constant([0, 1, 2, 999_999], tf.int64),
        seed=tf.constant([1, 2, 3], tf.uint32),
        max_index=tf.constant(999_999, tf.int64),
        rounds=16,
    )
    assert found.numpy().tolist() == PINNED
    assert (
        permutation.permuted(np.array([0, 1, 2, 999_999]), 1_000_000, (1, 2, 3)).tolist() == PINNED
    )


PINNED = [536844, 778284, 166735, 386545]


def test_why_some_sizes_are_not_asked_of_the_op():
    """If this fails, TensorFlow's op can do 4**k + 1 elements now, and `permutation.domain_of` can go."""
    found = tf.raw_ops.RandomIndexShuffle(
        index=tf.range(65537, dtype=tf.int64),
        seed=tf.constant([1, 2, 3], tf.uint32),
        max_index=tf.constant(65536, tf.int64),
        rounds=16,
    )
    assert len(np.unique(found)) < 65537


def test_the_same_slices():
    for part in (Slice(), Slice(1, 1, 3), Slice(2, 3, 7)):
        for rows in range(20):
            found = in_graph.rows_of(part, tf.constant(rows, tf.int64))
            assert [int(number) for number in found] == list(part.rows(rows))


def test_the_same_seeds():
    visits, ids = np.arange(5), np.array([0, 1, 2**40, 7, 3])
    for seed in (0, 5, -3, 2**63):
        in_a_graph = seeds.record_seed(seed, tf.constant(visits), tf.constant(ids)).numpy()
        assert in_a_graph.tolist() == permutation.record_seeds(seed, visits, ids).tolist()
