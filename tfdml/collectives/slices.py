"""The sum of gradients that name some rows of a table, over replicas that name different ones."""

from __future__ import annotations

import functools

import tensorflow as tf

from tfdml.collectives import raw

# A payload has one of the lengths 64, 256, 1024, ... rows: in TensorFlow a collective inside a loop keeps the shape
# that it had first, so a length of each step's own fails in the second step.
_FEWEST_ROWS, _GROWTH = 64, 4
_NO_ROW = -1


def sum_duplicates(slices: tf.IndexedSlices) -> tf.IndexedSlices:
    """Add the rows of `slices` that have the same index: norms and squares are then those of the dense gradient."""
    indices, positions = tf.unique(slices.indices)
    values = tf.math.unsorted_segment_sum(slices.values, positions, tf.shape(indices)[0])
    return tf.IndexedSlices(values, indices, slices.dense_shape)


def sum_slices(slices: tf.IndexedSlices, num_rows: int) -> tf.IndexedSlices:
    """The sum over all replicas, each row once; call in replica context.

    Every replica adds up its own rows first and then gets those of the others, in one order on all of them.

    Args:
        num_rows: rows of the variable.
    """
    context = tf.distribute.get_replica_context()
    own = sum_duplicates(slices)
    if context.num_replicas_in_sync == 1:
        return own
    if context.num_replicas_in_sync == raw.num_local_replicas():  # in memory: nothing is sent
        return sum_duplicates(raw.sum_over_replicas(own))
    lengths = raw.everyone().all_gather(tf.size(own.indices)[None])
    sizes = [_FEWEST_ROWS]
    while sizes[-1] < num_rows:
        sizes.append(sizes[-1] * _GROWTH)
    longest = tf.reduce_max(lengths)
    branch = tf.reduce_sum(tf.cast(longest > tf.constant(sizes[:-1], tf.int32), tf.int32))
    indices, values = tf.switch_case(
        branch, [functools.partial(_gather_padded, own, size) for size in sizes]
    )
    return sum_duplicates(tf.IndexedSlices(values, indices, own.dense_shape))


def _gather_padded(own: tf.IndexedSlices, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Indices and values of all replicas, each of which sends `size` rows."""
    missing = size - tf.size(own.indices)
    width = own.values.shape[1:]
    indices = tf.pad(own.indices, [[0, missing]], constant_values=_NO_ROW)
    values = tf.pad(own.values, [[0, missing], *([0, 0] for _ in width)])
    group = raw.everyone()
    indices = group.all_gather(tf.ensure_shape(indices, [size]))
    values = group.all_gather(tf.ensure_shape(values, [size, *width]))
    there = indices != _NO_ROW
    return tf.boolean_mask(indices, there), tf.boolean_mask(values, there)
