"""Pseudo-random permutations inside a graph: what `permutation.py` gives in NumPy, by TensorFlow's op."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfdml.data import permutation


def permuted(index: tf.Tensor, size: int | tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """The elements at `index` (int64 [n]) of permutations of range(size).

    Args:
        size: one for all, or int64 [n].
        key: uint32 [3], or [n, 3].
    """
    if isinstance(size, int):
        domain = permutation.domain_of(size)
        found = _shuffled(index, domain, key)
        return (
            found
            if domain == size
            else tf.where(found == size, _shuffled(size, domain, key), found)
        )
    # The sizes that the op cannot do are 4**k + 1, see `permutation.domain_of`.
    broken = tf.reduce_any(size[:, None] == tf.constant(_BROKEN_SIZES, tf.int64), axis=1)
    domain = size + tf.cast(broken, tf.int64)
    found = _shuffled(index, domain, key)
    instead = _shuffled(tf.where(broken, size, 0), domain, key)
    return tf.where(found == size, instead, found)


def key_of(seed: int, purpose: int, *numbers: tf.Tensor) -> tf.Tensor:
    """uint32 [3], or [n, 3] where a number is int64 [n]: the keys of `permutation.key_of`."""
    return key_from(hash_of(seed, purpose, *numbers))


def hash_of(seed: int, purpose: int, *numbers: tf.Tensor) -> tf.Tensor:
    """uint64 scalar, or [n] where a number is int64 [n]."""
    known = permutation.mix(*(np.array([v % 2**64], np.uint64) for v in (purpose, seed)))
    state = tf.constant(known[0])
    for number in numbers:
        state = mix(state, tf.bitcast(tf.cast(number, tf.int64), tf.uint64))
    return state


def key_from(state: tf.Tensor) -> tf.Tensor:
    """The key that comes of a hash, uint32 [..., 3]."""
    last = tf.bitcast(mix(state, tf.constant(0, tf.uint64)), tf.uint32)
    return tf.concat([tf.bitcast(state, tf.uint32), last[..., :1]], axis=-1)


def sorted_by_hash(
    index: tf.Tensor, sizes: tf.Tensor, state: tf.Tensor, *, largest: int
) -> tf.Tensor:
    """`permutation.permuted_at_any_size` for sizes (int64 [n]) up to `largest`, which is small."""
    elements = tf.range(largest, dtype=tf.int64)
    hashes = tf.bitcast(mix(state[:, None], tf.bitcast(elements, tf.uint64)), tf.int64)
    hashes = tf.where(elements < sizes[:, None], hashes, tf.int64.max)
    in_order = tf.argsort(hashes, axis=1, stable=True)
    return tf.cast(tf.gather(in_order, index, batch_dims=1), tf.int64)


_BROKEN_SIZES = [4**k + 1 for k in range(8, 21)]


def _shuffled(index: int | tf.Tensor, size: int | tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.RandomIndexShuffle(
        index=tf.cast(index, tf.int64),
        seed=key,
        max_index=tf.cast(size, tf.int64) - 1,
        rounds=permutation.ROUNDS,
    )


def mix(state: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """`permutation.mix`."""
    state = (state ^ value) + tf.constant(0x9E3779B97F4A7C15, tf.uint64)
    state = (state ^ _shifted(state, 30)) * tf.constant(0xBF58476D1CE4E5B9, tf.uint64)
    state = (state ^ _shifted(state, 27)) * tf.constant(0x94D049BB133111EB, tf.uint64)
    return state ^ _shifted(state, 31)


def _shifted(state: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.right_shift(state, tf.constant(bits, tf.uint64))
