"""The blockwise codecs in TensorFlow ops: what the kernels must agree with, bit for bit.

Used where there are no kernels, and to test them. The order of every rounding is part of the format, and both
Grappler and XLA rewrite float arithmetic: they turn a division by a constant into a multiplication, fuse a
multiplication with the addition that follows, and change the order of factors and of terms. `_rounded` ends
what they take for one expression, and divisors here are never constants.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfdml.native.block_format import TINY, BlockFormat

_LOWEST = np.finfo(np.float32).min


def encode(
    fmt: BlockFormat, values: Sequence[tf.Tensor], *, seed: tf.Tensor, chunks: int = 1
) -> tf.Tensor:
    """float32 tensors -> int32 [chunks, payload_words]; see `Codec.encode`."""
    flat = _concat(values)
    words, _ = _encode_flat(fmt, flat, flat.shape[0], seed, chunks)
    return words


def encode_feedback(
    fmt: BlockFormat,
    values: Sequence[tf.Tensor],
    residuals: Sequence[tf.Variable],
    *,
    seed: tf.Tensor,
    commit: tf.Tensor,
    residual_scale: tf.Tensor,
    chunks: int = 1,
) -> tf.Tensor:
    """Encode values + residual_scale * residuals; see `Codec.encode_feedback`."""
    old = [residual.read_value() for residual in residuals]
    flat = _concat(values) + _product(residual_scale, _concat(old))
    words, decoded = _encode_flat(fmt, flat, flat.shape[0], seed, chunks)
    for residual, before, lost in zip(
        residuals, old, split(flat - decoded, [r.shape for r in residuals]), strict=True
    ):
        residual.assign(tf.where(commit, lost, before))
    return words


def encode_remainder(
    fmt: BlockFormat,
    values: tf.Tensor,
    residuals: Sequence[tf.Variable],
    offset: tf.Tensor,
    *,
    seed: tf.Tensor,
    commit: tf.Tensor,
) -> tf.Tensor:
    """Encode a flat chunk, add what is lost to the residuals; see `Codec.encode_remainder`."""
    old = [residual.read_value() for residual in residuals]
    flat = _concat(old)
    size, chunk = flat.shape[0], values.shape[0]
    offset = tf.cast(tf.minimum(offset, size), tf.int32)
    present = tf.minimum(size - offset, chunk)
    values = tf.where(tf.range(chunk) < present, values, 0.0)
    words, decoded = _encode_flat(fmt, values, present, seed, 1)
    lost = tf.roll(tf.pad(values - decoded, [[0, size]]), offset, axis=0)[:size]
    index = tf.range(size)
    touched = (index >= offset) & (index < offset + present) & commit
    new = tf.where(touched, flat + lost, flat)
    for residual, value in zip(residuals, split(new, [r.shape for r in residuals]), strict=True):
        residual.assign(value)
    return words


def decode_sum(
    fmt: BlockFormat, words: tf.Tensor, shapes: Sequence[tf.TensorShape], *, initial: tf.Tensor
) -> list[tf.Tensor]:
    """int32 [payloads, chunks, payload_words] -> float32 tensors of `shapes`; see `Codec.decode_sum`."""
    size = sum(shape.num_elements() for shape in shapes)
    payloads, chunks, width = words.shape
    blocks = fmt.blocks(size, chunks)
    total = None
    for payload in range(payloads):
        fields, scale = words[payload], None
        if fmt.scales:
            fields, scale = tf.split(words[payload], [width - blocks, blocks], axis=1)
            scale = tf.reshape(tf.bitcast(scale, tf.float32), [-1, 1])
        decoded = _decode_fields(fmt, _unpack(fmt, tf.reshape(fields, [-1])), scale)
        total = decoded if total is None else _rounded(total + decoded)
    if total is None:
        return [tf.fill(shape, initial) for shape in shapes]
    # Not added: Grappler drops the addition of a constant 0, which makes -0 to 0.
    total = tf.where(tf.math.is_nan(initial), initial, tf.reshape(total, [-1])[:size])
    return split(total, shapes)


def all_finite(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """Whether all values of all float32 tensors are finite: a bool scalar."""
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(tensor)) for tensor in tensors])


def uniform(index: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """float32 in [0, 1) from a hash of `index` (uint32) and `seed` (int32 [2]): the same on every machine."""
    seed = tf.bitcast(seed, tf.uint32)
    odd = tf.constant(0x9E3779B9, tf.uint32)  # Any odd number that is far from all positions.
    # Both words depend on the first: of seeds that count steps, one must not give the numbers of the next,
    # moved by a place. The second is hashed once more than positions are, else some would meet their own hash.
    first = _lowbias32(seed[0] + odd)
    second = _lowbias32(_lowbias32(tf.bitwise.bitwise_xor(first, seed[1])) + odd)
    h = _lowbias32(tf.bitwise.bitwise_xor(_lowbias32(index + first), second))
    return tf.cast(tf.bitcast(_shift_right(h, 8), tf.int32), tf.float32) * 2.0**-24


def split(flat: tf.Tensor, shapes: Sequence[tf.TensorShape]) -> list[tf.Tensor]:
    """Cut a flat tensor into tensors of `shapes`."""
    pieces = tf.split(flat, [shape.num_elements() for shape in shapes]) if shapes else []
    return [tf.reshape(piece, shape) for piece, shape in zip(pieces, shapes, strict=True)]


def _encode_flat(
    fmt: BlockFormat, flat: tf.Tensor, present: int | tf.Tensor, seed: tf.Tensor, chunks: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """float32 [n], of which the first `present` count -> words, and the n values that they decode to."""
    size = flat.shape[0]
    blocks = fmt.blocks(size, chunks)
    if blocks == 0:
        return tf.zeros([chunks, 0], tf.int32), flat
    padding = chunks * blocks * fmt.block - size
    v = tf.reshape(tf.pad(flat, [[0, padding]]), [chunks * blocks, fmt.block])
    fields, scale = _encode_blocks(fmt, v, present, seed)
    words = tf.reshape(_pack(fmt, fields), [chunks, -1])
    if scale is not None:
        scales = tf.reshape(tf.bitcast(scale, tf.int32), [chunks, -1])
        words = tf.concat([words, scales], axis=1)
    return words, tf.reshape(_decode_fields(fmt, fields, scale), [-1])[:size]


def _encode_blocks(
    fmt: BlockFormat, v: tf.Tensor, present: int | tf.Tensor, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """float32 [blocks, block] -> integer fields [blocks, block] and float32 scales [blocks, 1]."""
    if fmt.kind == "bf16":
        bits = tf.bitcast(v, tf.uint32)
        odd = tf.bitwise.bitwise_and(_shift_right(bits, 16), tf.constant(1, tf.uint32))
        rounded = bits + tf.constant(0x7FFF, tf.uint32) + odd
        return tf.bitcast(tf.cast(_shift_right(rounded, 16), tf.uint16), tf.int16), None
    if fmt.kind == "sign":
        scale = _fold(tf.abs(v)) * _inverse_counts(v, present)
        return tf.cast(v >= 0.0, tf.int32), scale
    largest = tf.reduce_max(tf.abs(v), axis=1, keepdims=True)
    used = largest >= TINY
    if fmt.kind == "fp16":
        exponent = tf.bitwise.right_shift(tf.bitcast(largest, tf.int32), 23)
        factor = _power_of_two(used, 268 - exponent)
        return tf.bitcast(tf.cast(v * factor, tf.half), tf.int16), _power_of_two(
            used, exponent - 14
        )
    levels = tf.where(used, float(fmt.levels), 1.0)
    bound = _bound(fmt, v, largest, used, present)
    factor = tf.where(used, levels / tf.where(used, bound, 1.0), 0.0)
    scale = tf.where(used, bound / levels, 0.0)
    if fmt.stochastic:
        index = tf.reshape(tf.cast(tf.range(v.shape.num_elements()), tf.uint32), v.shape)
        q = tf.floor(_product(v, factor) + uniform(index, seed))
    else:
        q = tf.round(v * factor)
    # Integers also because they know no -0.
    return tf.cast(tf.clip_by_value(q, -fmt.levels, fmt.levels), tf.int32), scale


def _bound(
    fmt: BlockFormat,
    v: tf.Tensor,
    largest: tf.Tensor,
    used: tf.Tensor,
    present: int | tf.Tensor,
) -> tf.Tensor:
    """The value that the highest level stands for."""
    if fmt.kind == "absmax" and not fmt.clip:
        return largest
    # Relative to the largest, so that no square over- or underflows.
    safe = tf.where(used, largest, 1.0)
    p = v * (tf.where(used, 1.0, 0.0) / safe)
    squares = _fold(_product(p, p))
    if fmt.kind == "l2":
        return safe * tf.sqrt(squares)
    deviation = tf.sqrt(squares * _inverse_counts(v, present))
    return tf.minimum(largest, _product(fmt.clip, deviation) * safe)


def _decode_fields(fmt: BlockFormat, fields: tf.Tensor, scale: tf.Tensor | None) -> tf.Tensor:
    if fmt.kind == "bf16":
        wide = tf.bitwise.left_shift(tf.cast(fields, tf.int32), 16)
        return tf.bitcast(wide, tf.float32)
    assert scale is not None
    if fmt.kind == "sign":
        return tf.where(fields != 0, scale, -scale)
    if fmt.kind == "fp16":
        return _product(tf.cast(tf.bitcast(fields, tf.half), tf.float32), scale)
    return _product(tf.cast(fields, tf.float32), scale)


def _pack(fmt: BlockFormat, fields: tf.Tensor) -> tf.Tensor:
    """Fields [blocks, block] -> int32 [words]."""
    if fmt.bits == 16:
        return tf.bitcast(tf.reshape(fields, [-1, 2]), tf.int32)
    if fmt.bits == 8:
        return tf.bitcast(tf.reshape(tf.cast(fields, tf.int8), [-1, 4]), tf.int32)
    masked = tf.bitwise.bitwise_and(tf.reshape(fields, [-1, 32 // fmt.bits]), 2**fmt.bits - 1)
    # Fields that do not overlap: their sum is their union.
    return tf.reduce_sum(tf.bitwise.left_shift(masked, tf.range(0, 32, fmt.bits)), axis=1)


def _unpack(fmt: BlockFormat, words: tf.Tensor) -> tf.Tensor:
    """int32 [words] -> fields [blocks, block], sign extended."""
    if fmt.bits == 16:
        fields = tf.bitcast(words, tf.int16)
    elif fmt.bits == 8:
        fields = tf.bitcast(words, tf.int8)
    else:
        left = tf.range(32 - fmt.bits, -1, -fmt.bits)
        shifted = tf.bitwise.left_shift(words[:, None], left)
        fields = tf.bitwise.right_shift(shifted, 32 - fmt.bits)
    return tf.reshape(fields, [-1, fmt.block])


def _fold(x: tf.Tensor) -> tf.Tensor:
    """Sum of each row, [blocks, block] -> [blocks, 1]: second half added to the first, again and again."""
    while x.shape[1] > 1:
        first, second = tf.split(x, 2, axis=1)
        x = first + second
    return x


def _inverse_counts(v: tf.Tensor, present: int | tf.Tensor) -> tf.Tensor:
    """1 / (values of each block that are not padding), float32 [blocks, 1]; 0 where all are."""
    blocks, block = v.shape
    if isinstance(present, int):
        counts = np.clip(present - np.arange(blocks) * block, 0, block)[:, None]
        return tf.constant((counts > 0) / np.maximum(counts, 1).astype(np.float32), tf.float32)
    counts = tf.clip_by_value(present - tf.range(blocks) * block, 0, block)[:, None]
    return tf.where(counts > 0, 1.0, 0.0) / tf.cast(tf.maximum(counts, 1), tf.float32)


def _power_of_two(used: tf.Tensor, exponent: tf.Tensor) -> tf.Tensor:
    """2 ** (exponent - 127) where `used`, else 0."""
    return tf.bitcast(tf.where(used, tf.bitwise.left_shift(exponent, 23), 0), tf.float32)


def _product(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return _rounded(x * y)


def _rounded(x: tf.Tensor) -> tf.Tensor:
    """x, with a bound that no finite value is below: what optimizers do not see through."""
    return tf.maximum(x, _LOWEST)


def _lowbias32(x: tf.Tensor) -> tf.Tensor:
    """The integer hash "lowbias32" of Wellons, https://nullprogram.com/blog/2018/07/31/ (uint32)."""
    x = tf.bitwise.bitwise_xor(x, _shift_right(x, 16)) * tf.constant(0x7FEB352D, tf.uint32)
    x = tf.bitwise.bitwise_xor(x, _shift_right(x, 15)) * tf.constant(0x846CA68B, tf.uint32)
    return tf.bitwise.bitwise_xor(x, _shift_right(x, 16))


def _shift_right(x: tf.Tensor, by: int) -> tf.Tensor:
    return tf.bitwise.right_shift(x, tf.constant(by, tf.uint32))


def _concat(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    if not tensors:
        return tf.zeros([0])
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
