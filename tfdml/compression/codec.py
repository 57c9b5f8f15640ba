"""What a codec is."""

from __future__ import annotations

from typing import Protocol

import tensorflow as tf


class Codec(Protocol):
    """Turns n float32 values into int32 words whose number depends on n alone.

    Words are int32 because TensorFlow's collectives carry no 8-bit types.
    """

    def payload_words(self, num_elements: int) -> int:
        """Number of int32 words for `num_elements` values."""

    def encode(self, values: tf.Tensor) -> tf.Tensor:
        """float32 [n] -> int32 [payload_words(n)]. A value that is not finite makes its block decode to NaN."""

    def decode_sum(self, words: tf.Tensor, num_elements: int) -> tf.Tensor:
        """int32 [W, payload_words(n)] -> float32 [n]: the payloads of W replicas, decoded and added."""
