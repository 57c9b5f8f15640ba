"""Rows of a table whose shards are several variables: finding them, combining them, and their gradients.

Row i lies in shard i mod S as its row i // S. Ids are often given out in the order of frequency or of time, so that
neighbours are asked for together: modulo spreads them over all shards, where a division into ranges would send
most of them to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfdml.data.read_errors import MARK
from tfdml.errors import DataError

COMBINERS = ("sum", "mean", "sqrtn")


def rows_of_shard(num_rows: int, shard: int, num_shards: int) -> int:
    """How many of `num_rows` rows lie in shard number `shard`."""
    return (num_rows - shard + num_shards - 1) // num_shards


def look_up(shards: Sequence[tf.Variable | tf.Tensor], ids: tf.Tensor) -> tf.Tensor:
    """The rows of `ids`: [n, width], of the shards' dtype.

    Each row that is asked for is read once, and its gradient is a row of the `tf.IndexedSlices` of its shard. A
    gather runs where the variable is, so between a worker and a parameter server only such rows travel.

    Args:
        shards: [rows_of_shard(...), width] each.
        ids: int32 or int64 [n], each in the table (`checked`).
    """
    distinct, positions = tf.unique(ids)
    num_shards = len(shards)
    if num_shards == 1:
        rows = tf.gather(shards[0], distinct)
    else:
        shard_of = tf.cast(distinct % num_shards, tf.int32)
        wanted = tf.dynamic_partition(distinct // num_shards, shard_of, num_shards)
        places = tf.dynamic_partition(tf.range(tf.size(distinct)), shard_of, num_shards)
        found = [tf.gather(shard, rows) for shard, rows in zip(shards, wanted, strict=True)]
        rows = tf.dynamic_stitch(places, found)
    return _repeat_rows(rows, positions)


@tf.custom_gradient
def _repeat_rows(rows: tf.Tensor, positions: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """rows[positions]. The gradient is summed at once; that of `tf.gather` would be sparse, and then made dense."""

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        return tf.math.unsorted_segment_sum(upstream, positions, tf.shape(rows)[0]), None

    return tf.gather(rows, positions), gradient


def combine(
    rows: tf.Tensor,
    segments: tf.Tensor,
    num_segments: tf.Tensor,
    weights: tf.Tensor | None,
    combiner: str,
) -> tf.Tensor:
    """One row for each example from the rows of its ids, as `tf.nn.embedding_lookup_sparse` defines them.

    sum: sum_i w_i r_i; mean: that over sum_i w_i; sqrtn: over sqrt(sum_i w_i^2). Zeros for an example without ids, or
    whose divisor is 0.

    Args:
        rows: floating [n, width].
        segments: [n], of which example each row is.
        weights: [n] of the dtype of `rows`, or None: all are 1.
        combiner: one of `COMBINERS`.

    Returns:
        [num_segments, width].
    """
    if weights is not None:
        rows = rows * weights[:, None]
    total = tf.math.unsorted_segment_sum(rows, segments, num_segments)
    if combiner == "sum":
        return total
    if weights is None:
        weights = tf.ones(tf.shape(segments), rows.dtype)
    if combiner == "mean":
        divisor = tf.math.unsorted_segment_sum(weights, segments, num_segments)
    else:
        squares = tf.math.unsorted_segment_sum(tf.square(weights), segments, num_segments)
        divisor = tf.sqrt(squares)
    return tf.math.divide_no_nan(total, divisor[:, None])


def checked(ids: tf.Tensor, num_rows: int, feature: str) -> tf.Tensor:
    """`ids`, all of which are in [0, num_rows).

    Raises:
        DataError: at once in eager mode. In a graph the op fails with the same sentence, of which
            `tfdml.data.read_errors.data_errors` makes one.
    """
    outside = tf.logical_or(ids < 0, ids >= num_rows)
    fine = tf.logical_not(tf.reduce_any(outside))
    if tf.executing_eagerly():
        if not fine:
            bad = int(ids[int(tf.argmax(tf.cast(outside, tf.int8)))])
            raise DataError(_sentence(feature, num_rows).replace("{}", str(bad)))
        return ids
    first = tf.gather(ids, tf.argmax(tf.cast(outside, tf.int8)) % tf.maximum(_size(ids), 1))
    before, _, after = _sentence(feature, num_rows).partition("{}")
    # The op puts its data in brackets, and what reads the sentence back ends it where brackets open.
    message = tf.strings.join([MARK, before, tf.as_string(first), after, " [["])
    with tf.control_dependencies([tf.debugging.Assert(fine, [message])]):
        return tf.identity(ids)


def _size(ids: tf.Tensor) -> tf.Tensor:
    return tf.size(ids, out_type=tf.int64)


def _sentence(feature: str, num_rows: int) -> str:
    return (
        f"Feature `{feature}` has the id {{}}, and its table has {num_rows} rows, numbered 0 to {num_rows - 1}. "
        "Correct the data, or make `input_dim` of its ShardedEmbedding larger."
    )
