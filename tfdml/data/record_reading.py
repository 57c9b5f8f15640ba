"""Reading records by number in a graph: the native op, or record_file's reader where there is none."""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from tfdml.data.read_errors import MARK
from tfdml.data.records import RecordSet
from tfdml.errors import DataError
from tfdml.native import loader


@tf.autograph.experimental.do_not_convert
def read(records: RecordSet, ids: tf.Tensor, epoch: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """See `RecordSet.read`."""
    read_local = functools.partial(_read_local, records)
    if records.staged is None:
        return read_local(ids)
    shards = (
        tf.searchsorted(tf.constant(records.first_ids), ids, side="right", out_type=tf.int64) - 1
    )
    serialised = records.staged.read(ids, shards, epoch, step, read_local)
    serialised.set_shape(ids.shape)
    return serialised


def announce(records: RecordSet, shards: tf.Tensor) -> None:
    """In a graph: say that the shards of these numbers will be read soon, as a whole."""
    ops = loader.ops()
    if ops is not None and records.staged is None:
        paths = tf.constant([shard.path for shard in records.shards])
        ops.tfdml_announce_shards(paths=tf.gather(paths, shards))


def _read_local(records: RecordSet, ids: tf.Tensor) -> tf.Tensor:
    ops = loader.ops()
    if ops is None:
        serialised = tf.numpy_function(functools.partial(_read_now, records), [ids], tf.string)
        serialised.set_shape(ids.shape)
        return serialised
    shards = records.shards
    return ops.tfdml_read_records(
        ids=ids,
        paths=tf.constant([shard.path for shard in shards]),
        versions=tf.constant([shard.version for shard in shards]),
        indexes=tf.constant([shard.index for shard in shards]),
        first_ids=tf.constant(records.first_ids),
        keep_open=records.staged is None,
    )


def _read_now(records: RecordSet, ids: np.ndarray) -> np.ndarray:
    try:
        return np.array(records.read_now(ids), object)
    except DataError as error:
        raise DataError(f"{MARK}{error}") from None
