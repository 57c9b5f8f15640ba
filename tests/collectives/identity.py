"""A codec that loses nothing: what an exchange does apart from its codec."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


class Identity:
    """Words are the float32 values themselves."""

    name = "identity"
    unbiased = True
    feedback = False
    shared_seed = False

    def chunk_elements(self, num_elements: int, chunks: int = 1) -> int:
        return -(-num_elements // chunks)

    def payload_words(self, num_elements: int, chunks: int = 1) -> int:
        return self.chunk_elements(num_elements, chunks)

    def encode(self, values: Sequence[tf.Tensor], *, seed: tf.Tensor, chunks: int = 1) -> tf.Tensor:
        flat = tf.concat([tf.reshape(value, [-1]) for value in values], axis=0)
        words = self.payload_words(flat.shape[0], chunks)
        padded = tf.pad(flat, [[0, chunks * words - flat.shape[0]]])
        return tf.reshape(tf.bitcast(padded, tf.int32), [chunks, words])

    def decode_sum(
        self, words: tf.Tensor, shapes: Sequence[tf.TensorShape], *, initial: tf.Tensor
    ) -> list[tf.Tensor]:
        payloads = tf.reshape(tf.bitcast(words, tf.float32), [words.shape[0], -1])
        total = initial + tf.reduce_sum(payloads, axis=0)
        sizes = [shape.num_elements() for shape in shapes]
        pieces = tf.split(total[: sum(sizes)], sizes)
        return [tf.reshape(piece, shape) for piece, shape in zip(pieces, shapes, strict=True)]
