"""The numbers of an order inside a graph: which records lie at which places of an epoch.

Everything here gives what `order.py` gives in NumPy; that module says what it means.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import tensorflow as tf

from tfdml.data import mixture_in_graph, permutation
from tfdml.data.mixture import Mixture
from tfdml.data.order import AnyOrder, Order, Slice, first_ids_of
from tfdml.data.permutation_in_graph import key_of, permuted

# What the steps of an epoch have in common, a nest of tensors.
Tables: TypeAlias = Any


def tables_of(order: AnyOrder, epoch: tf.Tensor) -> Tables:
    """What `records_at` needs to know of an epoch (int64 scalar), computed once for all of its steps."""
    if not isinstance(order, Order) or order.shuffle == "none":
        return ()
    if order.shuffle == "full":
        return key_of(order.seed, permutation.OF_EPOCH, epoch)
    return _window_tables(order, epoch)


def records_at(
    order: AnyOrder, tables: Tables, epoch: tf.Tensor, places: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """(ids, visits), int64 [n] each, of the records at `places` (int64 [n]) of an epoch.

    The row r of step s is at place s * global_batch_size + r.
    """
    if isinstance(order, Mixture):
        return mixture_in_graph.drawn(order, epoch * order.records_per_epoch + places)
    assert isinstance(order, Order)
    visits = tf.fill(tf.shape(places), epoch)
    if order.shuffle == "none":
        return places, visits
    if order.shuffle == "full":
        return permuted(places, order.num_records, tables), visits
    return _in_windows(order, tables, epoch, places), visits


def shards_to_come(
    order: AnyOrder, tables: Tables, places: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor] | None:
    """With shuffle="shards": (whether a new window of shards begins between two places, what it and the next hold).

    Args:
        places: int64 scalars, of the step before and of this one; the first is negative where there is none.
    """
    if not isinstance(order, Order) or order.shuffle != "shards":
        return None
    shard_order, _, window_ends = tables
    before, window = tf.unstack(
        tf.searchsorted(window_ends, tf.stack(places), side="right", out_type=tf.int64)
    )
    begin = window * order.window_shards
    return (places[0] < 0) | (before != window), shard_order[
        begin : begin + 2 * order.window_shards
    ]


def rows_of(part: Slice, global_rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`Slice.rows` of an int64 scalar."""
    smaller, larger_parts = global_rows // part.num_replicas, global_rows % part.num_replicas

    def start_of(replica: int) -> tf.Tensor:
        return replica * smaller + tf.minimum(tf.constant(replica, tf.int64), larger_parts)

    start = start_of(part.first_replica)
    return start, start_of(part.first_replica + part.num_local_replicas) - start


def _window_tables(order: Order, epoch: tf.Tensor) -> Tables:
    """The shards in the order of the epoch; where each ends there; where each window ends."""
    shards = len(order.shard_sizes)
    key = key_of(order.seed, permutation.OF_SHARDS, epoch)
    shard_order = permuted(tf.range(shards, dtype=tf.int64), shards, key)
    ends = tf.cumsum(tf.gather(tf.constant(order.shard_sizes, tf.int64), shard_order))
    last = [*range(order.window_shards - 1, shards - 1, order.window_shards), shards - 1]
    return shard_order, ends, tf.gather(ends, last)


def _in_windows(order: Order, tables: Tables, epoch: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    shard_order, shard_ends, window_ends = tables
    windows = tf.searchsorted(window_ends, places, side="right", out_type=tf.int64)
    window_starts = tf.concat([tf.zeros([1], tf.int64), window_ends[:-1]], axis=0)
    begins, ends = tf.gather(window_starts, windows), tf.gather(window_ends, windows)
    keys = key_of(order.seed, permutation.OF_WINDOW, epoch, windows)
    mixed = begins + permuted(places - begins, ends - begins, keys)
    slots = tf.searchsorted(shard_ends, mixed, side="right", out_type=tf.int64)
    shards = tf.gather(shard_order, slots)
    sizes = tf.gather(tf.constant(order.shard_sizes, tf.int64), shards)
    in_shard = mixed - (tf.gather(shard_ends, slots) - sizes)
    return tf.gather(tf.constant(first_ids_of(order.shard_sizes)), shards) + in_shard
