"""What a codec is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import tensorflow as tf


class Codec(Protocol):
    """Turns n float32 values into int32 words whose number depends on n alone, and keeps no state.

    The n values are those of a list of tensors, one after the other, so that nobody has to copy a bucket of
    gradients into one tensor first: [a, b] and [concat(a, b)] have the same payload. A payload consists of
    `chunks` parts of equal length, each of which can be decoded alone: chunk c holds the values from
    c * chunk_elements(n, chunks) on; what is missing at the end of the last one counts as zeros.

    Words are int32 because TensorFlow's collectives carry no 8-bit types. The arithmetic is float32. The same
    values and seed give the same words on every machine and with any number of threads.
    """

    name: str
    unbiased: bool
    """Whether decoding gives the values on average; a codec that does not needs error feedback."""
    feedback: bool
    """Whether error feedback is kept unless asked otherwise: it pays for what is not right on average."""
    shared_seed: bool
    """Whether all replicas must encode with the same seed; otherwise each has its own."""

    def chunk_elements(self, num_elements: int, chunks: int = 1) -> int:
        """Number of values in one of `chunks` chunks of `num_elements` values, padding included."""

    def payload_words(self, num_elements: int, chunks: int = 1) -> int:
        """Number of int32 words of one chunk."""

    def encode(self, values: Sequence[tf.Tensor], *, seed: tf.Tensor, chunks: int = 1) -> tf.Tensor:
        """float32 tensors of static shapes -> int32 [chunks, payload_words]. `seed`: int32 [2], stateless.

        What a value that is not finite becomes is not specified: whoever calls has looked for them before.
        """

    def encode_feedback(
        self,
        values: Sequence[tf.Tensor],
        residuals: Sequence[tf.Variable],
        *,
        seed: tf.Tensor,
        commit: tf.Tensor,
        residual_scale: tf.Tensor,
        chunks: int = 1,
    ) -> tf.Tensor:
        """Encode v = values + residual_scale * residuals and keep what is lost: residual = v - decoded(v).

        `residuals` are variables of the shapes of `values`, changed in place, and only if the bool scalar
        `commit` is true; without it the words are not specified.
        """

    def encode_remainder(
        self,
        values: tf.Tensor,
        residuals: Sequence[tf.Variable],
        offset: tf.Tensor,
        *,
        seed: tf.Tensor,
        commit: tf.Tensor,
    ) -> tf.Tensor:
        """Encode a flat chunk and add what is lost to the residuals: r[offset + i] += values[i] - decoded[i].

        The second encoding of a two-phase exchange. `values`: float32 [chunk]; `offset`: int64 scalar, where
        the chunk begins in the concatenation of `residuals`; values past its end are padding, and are
        dropped. Returns int32 [1, payload_words(chunk)].
        """

    def decode_sum(
        self, words: tf.Tensor, shapes: Sequence[tf.TensorShape], *, initial: tf.Tensor
    ) -> list[tf.Tensor]:
        """int32 [payloads, chunks, payload_words] -> float32 tensors of `shapes`, static.

        Each is `initial` (float32 scalar: 0, or NaN to make a skipped step seen) plus the values of all
        payloads, added in their order.
        """
