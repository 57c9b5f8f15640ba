"""Sparse selection in TensorFlow's own ops: what the native kernels compute, bit by bit.

The native ops are tested against these functions, which also serve where there is no compiler. A payload of
k selected values is k indices (int32, ascending) and the bits of k float32 values, or, with random
positions, the two words of the seed and the bits of the values.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

_MAGNITUDE = 0x7FFFFFFF  # The bits of |x|; read as integers they are ordered as |x| is.
_SMALLEST_NORMAL = (
    0x00800000  # TensorFlow computes with subnormal numbers as zeros; so does selection.
)


def topk(values: Sequence[tf.Tensor], k: int) -> tf.Tensor:
    """The k values of the largest magnitude, the earlier of equal ones: int32 [1, 2k].

    Zeros are not selected: where too few other values are there, entries of index 0 and value 0 come first.
    """
    return _select(_flat(values), k)[0]


def topk_feedback(
    values: Sequence[tf.Tensor],
    residuals: Sequence[tf.Variable],
    k: int,
    *,
    commit: tf.Tensor,
    residual_scale: tf.Tensor,
) -> tf.Tensor:
    """Select from v = values + residual_scale * residuals; residuals become v, and 0 where selected."""
    v = _flat(values) + _product(residual_scale, _flat(residuals))
    words, selected = _select(v, k)
    _assign(residuals, tf.where(selected, 0.0, v), commit)
    return words


def topk_momentum(
    values: Sequence[tf.Tensor],
    velocities: Sequence[tf.Variable],
    residuals: Sequence[tf.Variable],
    k: int,
    *,
    momentum: tf.Tensor,
    commit: tf.Tensor,
) -> tf.Tensor:
    """u = momentum * u + values; v = v + u; select from v; u and v become 0 where selected.

    u are the velocities, v the residuals: momentum correction and factor masking (Lin et al. 2018).
    """
    u = _product(momentum, _flat(velocities)) + _flat(values)
    v = _flat(residuals) + u
    words, selected = _select(v, k)
    _assign(velocities, tf.where(selected, 0.0, u), commit)
    _assign(residuals, tf.where(selected, 0.0, v), commit)
    return words


def sum_indexed(
    words: tf.Tensor, shapes: Sequence[tf.TensorShape], *, initial: tf.Tensor
) -> list[tf.Tensor]:
    """`initial` plus the values of all payloads of `topk`, int32 [payloads, 1, 2k], in their order."""
    total = tf.fill([sum(shape.num_elements() for shape in shapes)], initial)
    for payload in tf.unstack(words[:, 0]):
        index, value = tf.split(payload, 2)
        total = _add_at(total, index, value)
    return _split(total, shapes)


def random_positions(num_elements: int, k: int, seed: tf.Tensor) -> tf.Tensor:
    """One of `num_elements` positions from each of k parts of nearly equal width: int32 [k], ascending."""
    return _strata(num_elements, k, seed)[0]


def randomk(values: Sequence[tf.Tensor], k: int, *, seed: tf.Tensor, unbiased: bool) -> tf.Tensor:
    """The values at `random_positions`: int32 [1, 2 + k]. `unbiased`: times the width of their parts."""
    return _pick(_flat(values), k, seed, unbiased)[0]


def randomk_feedback(
    values: Sequence[tf.Tensor],
    residuals: Sequence[tf.Variable],
    k: int,
    *,
    seed: tf.Tensor,
    unbiased: bool,
    commit: tf.Tensor,
    residual_scale: tf.Tensor,
) -> tf.Tensor:
    """`randomk` of v = values + residual_scale * residuals; residuals become v minus what is sent."""
    v = _flat(values) + _product(residual_scale, _flat(residuals))
    words, index, sent = _pick(v, k, seed, unbiased)
    lost = tf.tensor_scatter_nd_update(v, index[:, None], tf.gather(v, index) - sent)
    _assign(residuals, lost, commit)
    return words


def sum_random(
    words: tf.Tensor, shapes: Sequence[tf.TensorShape], *, initial: tf.Tensor
) -> list[tf.Tensor]:
    """`initial` plus the values of all payloads of `randomk`, int32 [payloads, 1, 2 + k], in their order."""
    num_elements = sum(shape.num_elements() for shape in shapes)
    total = tf.fill([num_elements], initial)
    for payload in tf.unstack(words[:, 0]):
        index = random_positions(num_elements, payload.shape[0] - 2, payload[:2])
        total = _add_at(total, index, payload[2:])
    return _split(total, shapes)


def _select(v: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Words, and bool [n]: whether a value is among them."""
    # Of equal keys tf.math.top_k takes the earlier.
    magnitude, index = tf.math.top_k(tf.bitcast(v, tf.int32) & _MAGNITUDE, k, sorted=True)
    index = tf.sort(tf.where(magnitude >= _SMALLEST_NORMAL, index, -1))
    taken = index >= 0
    index = tf.maximum(index, 0)
    value = tf.where(taken, tf.gather(v, index), 0.0)
    words = tf.concat([index, tf.bitcast(value, tf.int32)], axis=0)[None]
    times = tf.scatter_nd(index[:, None], tf.cast(taken, tf.int32), tf.shape(v))
    return words, times > 0


def _pick(
    v: tf.Tensor, k: int, seed: tf.Tensor, unbiased: bool
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Words, indices and the values in the words."""
    index, width = _strata(v.shape[0], k, seed)
    value = tf.gather(v, index)
    if unbiased:
        value = _product(tf.cast(width, tf.float32), value)
    words = tf.concat([tf.cast(seed, tf.int32), tf.bitcast(value, tf.int32)], axis=0)[None]
    return words, index, value


def _strata(num_elements: int, k: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Positions, int32 [k], and the widths of the parts from which they were drawn."""
    bounds = tf.range(k + 1, dtype=tf.int64) * num_elements // max(k, 1)
    width = tf.cast(bounds[1:] - bounds[:-1], tf.uint32)
    drawn = _hashes(k, tf.bitcast(seed, tf.uint32)) % width
    index = tf.cast(bounds[:-1], tf.int32) + tf.cast(drawn, tf.int32)
    return index, tf.cast(width, tf.int32)


def _hashes(k: int, seed: tf.Tensor) -> tf.Tensor:
    """uint32 [k] from a seed, uint32 [2]."""
    odd = tf.constant(0x9E3779B9, tf.uint32)  # Any odd number that is far from all positions.
    # Both words depend on the first: of seeds that count steps, one must not give the numbers of the next,
    # moved by a place. The second is hashed once more than places are, else some would meet their own hash.
    first = _lowbias32(seed[0] + odd)
    second = _lowbias32(_lowbias32(first ^ seed[1]) + odd)
    return _lowbias32(_lowbias32(tf.cast(tf.range(k), tf.uint32) + first) ^ second)


def _lowbias32(x: tf.Tensor) -> tf.Tensor:
    """An integer hash of little bias (Wellons 2018, "Prospecting for Hash Functions"): uint32 -> uint32."""
    x = (x ^ tf.bitwise.right_shift(x, tf.constant(16, tf.uint32))) * tf.constant(
        0x7FEB352D, tf.uint32
    )
    x = (x ^ tf.bitwise.right_shift(x, tf.constant(15, tf.uint32))) * tf.constant(
        0x846CA68B, tf.uint32
    )
    return x ^ tf.bitwise.right_shift(x, tf.constant(16, tf.uint32))


def _product(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """x * y, rounded: Grappler and XLA would fuse it with the addition that follows, but not with a maximum."""
    return tf.maximum(x * y, tf.float32.min)


def _add_at(total: tf.Tensor, index: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    return tf.tensor_scatter_nd_add(total, index[:, None], tf.bitcast(value, tf.float32))


def _flat(tensors: Sequence[tf.Tensor | tf.Variable]) -> tf.Tensor:
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)


def _split(flat: tf.Tensor, shapes: Sequence[tf.TensorShape]) -> list[tf.Tensor]:
    parts = tf.split(flat, [shape.num_elements() for shape in shapes])
    return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]


def _assign(variables: Sequence[tf.Variable], flat: tf.Tensor, commit: tf.Tensor) -> None:
    parts = _split(flat, [variable.shape for variable in variables])
    for variable, part in zip(variables, parts, strict=True):
        variable.assign(tf.where(commit, part, variable))
