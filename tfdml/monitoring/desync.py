"""Whether all replicas hold the same bits: a hash of every variable, computed where the variable is."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import keras
import tensorflow as tf

from tfdml.errors import TfdmlError


class ReplicasDiffer(TfdmlError, RuntimeError):
    """Replicas hold different weights: they never agree again, and what is trained from here on is no one's model.

    Neither the user's mistake nor that of tfdml alone: hardware that computes wrongly, a callback that changes
    weights on one task, code that runs on some tasks only. The last snapshot is from before it.
    """


def replicated_variables(model: keras.Model) -> list[keras.Variable]:
    """What must be the same on all replicas: weights, and the optimizer's slots and counters."""
    optimizer = model.optimizer.variables if model.optimizer is not None else []
    return [v for v in [*model.weights, *optimizer] if tf.as_dtype(v.dtype) != tf.string]


def hash_of(value: tf.Tensor) -> tf.Tensor:
    """int64 scalar: the bits of `value`, as 64-bit words, added up modulo 2^64.

    Every change of one word changes it. It reads memory once, in one reduction, on the device that holds the value
    (int64, because TensorFlow keeps int32 on the host).
    """
    if value.dtype == tf.bool:
        value = tf.cast(value, tf.uint8)
    flat = tf.reshape(value, [-1])
    of_word = 8 // value.dtype.size
    if of_word > 1:
        missing = -value.shape.num_elements() % of_word
        if missing:
            flat = tf.concat([flat, tf.zeros([missing], value.dtype)], axis=0)
        flat = tf.reshape(flat, [-1, of_word])
    words = flat if value.dtype == tf.int64 else tf.bitcast(flat, tf.int64)
    return tf.reduce_sum(words)


def hashes_of(variables: Sequence[keras.Variable]) -> tf.Tensor:
    """int64 [variables]; in replica context those of this replica."""
    return tf.stack([hash_of(tf.convert_to_tensor(variable.value)) for variable in variables])


def combined(hashes: tf.Tensor, names: Sequence[str]) -> tuple[tf.Tensor, tf.Tensor]:
    """Two float64 scalars, exact, that hold one hash of `hashes`, int64 [variables]."""
    # Odd factors: no change of one variable is lost, and no two are each other's opposite.
    factors = [2 * zlib.crc32(name.encode()) + 1 for name in names]
    total = tf.reduce_sum(hashes * tf.constant(factors, tf.int64))
    high = tf.bitwise.right_shift(total, tf.constant(32, tf.int64))
    low = tf.bitwise.bitwise_and(total, tf.constant(0xFFFFFFFF, tf.int64))
    return tf.cast(high, tf.float64), tf.cast(low, tf.float64)


def first_difference(
    of_replica: Sequence[Sequence[int]], names: Sequence[str]
) -> tuple[str, list[int]] | None:
    """The first variable whose hashes differ, and the replicas that are not as most are (then as the first).

    Args:
        of_replica: [num_replicas][variables].
    """
    for number, name in enumerate(names):
        values = [hashes[number] for hashes in of_replica]
        if len(set(values)) > 1:
            most = max(values, key=lambda value: (values.count(value), value == values[0]))
            return name, [r for r, value in enumerate(values) if value != most]
    return None
