"""The draws of a mixture inside a graph: what `mixture.py` gives in NumPy."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfdml.data import permutation
from tfdml.data.mixture import Mixture
from tfdml.data.order import first_ids_of
from tfdml.data.permutation_in_graph import hash_of, key_from, permuted, sorted_by_hash


def drawn(mixture: Mixture, numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(ids, passes), int64 [n] each, of the draws of these numbers (int64 [n])."""
    length = len(mixture.pattern)
    cycles, places = numbers // length, numbers % length
    components = tf.gather(tf.constant(mixture.pattern), places)
    sizes = tf.gather(tf.constant(mixture.sizes), components)
    draws = cycles * tf.gather(tf.constant(mixture.counts), components)
    draws += tf.gather(tf.constant(mixture.ranks), places)
    passes, at = draws // sizes, draws % sizes
    state = hash_of(mixture.seed, permutation.OF_PASS, passes, components)
    local = _permuted(mixture, at, sizes, state)
    return _ids(mixture, components, local), passes


def _permuted(mixture: Mixture, at: tf.Tensor, sizes: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
    limit = permutation.SORTED_UP_TO
    if mixture.sizes.max() > limit:
        is_large = sizes > limit
        size = tf.where(is_large, sizes, 1)
        local = permuted(tf.where(is_large, at, 0), size, key_from(state))
    else:
        local = at
    small = mixture.sizes[mixture.sizes <= limit]
    if len(small):
        here = tf.where(sizes <= limit)[:, 0]
        of_small = (tf.gather(values, here) for values in (at, sizes, state))
        found = sorted_by_hash(*of_small, largest=int(small.max()))
        local = tf.tensor_scatter_nd_update(local, here[:, None], found)
    return local


def _ids(mixture: Mixture, components: tf.Tensor, local: tf.Tensor) -> tf.Tensor:
    """The ids of the records that are at `local` in their components."""
    ranges = [c for c in mixture.components if isinstance(c, range) and c.step == 1]
    if len(ranges) == len(mixture.components):
        return tf.gather(tf.constant([c.start for c in ranges], tf.int64), components) + local
    with tf.init_scope():  # beside the graph: in it, a table of millions would be copied with it
        ids = tf.constant(np.concatenate([np.asarray(c, np.int64) for c in mixture.components]))
    starts = tf.constant(first_ids_of(mixture.sizes.tolist())[:-1])
    return tf.gather(ids, tf.gather(starts, components) + local)
