"""Blockwise 8-bit quantisation: 4 times fewer bytes than float32."""

from __future__ import annotations

import tensorflow as tf

from tfdml.errors import ConfigError

_LEVELS = 127


class Int8:
    """Each block of values becomes 8-bit integers q and one float32 scale s = max|x| / 127, x ~ q * s.

    Symmetric absmax quantisation with rounding to the nearest, block by block (Dettmers 2016, "8-Bit
    Approximations for Parallelism in Deep Learning"; Dettmers et al. 2022, section 2.1). The error of a value
    is at most s / 2.

    Args:
        block_size: values that share a scale; a power of two of at least 4.
    """

    def __init__(self, block_size: int = 256):
        if block_size < 4 or block_size & (block_size - 1):
            raise ConfigError(
                f"`block_size` must be a power of two of at least 4, got {block_size}. The default is 256."
            )
        self.block_size = block_size

    def _num_blocks(self, num_elements: int) -> int:
        return -(-num_elements // self.block_size)

    def payload_words(self, num_elements: int) -> int:
        """One word for 4 values, and one for each block's scale."""
        return self._num_blocks(num_elements) * (self.block_size // 4 + 1)

    def encode(self, values: tf.Tensor) -> tf.Tensor:
        """float32 [n] -> int32 [payload_words(n)]."""
        blocks = self._num_blocks(values.shape[0])
        missing = blocks * self.block_size - values.shape[0]
        x = tf.reshape(tf.pad(values, [[0, missing]]), [blocks, self.block_size])
        scale = tf.reduce_max(tf.abs(x), axis=1, keepdims=True) / _LEVELS
        finite = tf.reduce_all(tf.math.is_finite(x), axis=1, keepdims=True)
        scale = tf.where(finite, scale, float("nan"))
        # A block of subnormal numbers may have the scale 0: then it decodes to 0.
        levels = tf.math.divide_no_nan(x, scale)
        levels = tf.where(finite, tf.round(levels), 0.0)
        q = tf.cast(tf.clip_by_value(levels, -_LEVELS, _LEVELS), tf.int8)
        words = tf.bitcast(tf.reshape(q, [-1, 4]), tf.int32)
        return tf.concat([words, tf.bitcast(tf.reshape(scale, [-1]), tf.int32)], axis=0)

    def decode_sum(self, words: tf.Tensor, num_elements: int) -> tf.Tensor:
        """int32 [W, payload_words(n)] -> float32 [n], added in the order of the rows."""
        blocks = self._num_blocks(num_elements)
        total = tf.zeros([blocks, self.block_size])
        for payload in tf.unstack(words):
            q, scale = tf.split(payload, [blocks * self.block_size // 4, blocks])
            q = tf.reshape(tf.bitcast(q, tf.int8), [blocks, self.block_size])
            total += tf.cast(q, tf.float32) * tf.bitcast(scale, tf.float32)[:, None]
        return tf.reshape(total, [-1])[:num_elements]
