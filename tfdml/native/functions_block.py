"""The blockwise codecs: native ops where there are any, else the same in TensorFlow's own."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfdml.native import reference
from tfdml.native.block_format import BlockFormat


def encode(
    fmt: BlockFormat, values: Sequence[tf.Tensor], *, seed: tf.Tensor, chunks: int = 1
) -> tf.Tensor:
    """float32 tensors -> int32 [chunks, payload_words]; see `Codec.encode`."""
    return reference.encode(fmt, values, seed=seed, chunks=chunks)


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
    return reference.encode_feedback(
        fmt,
        values,
        residuals,
        seed=seed,
        commit=commit,
        residual_scale=residual_scale,
        chunks=chunks,
    )


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
    return reference.encode_remainder(fmt, values, residuals, offset, seed=seed, commit=commit)


def decode_sum(
    fmt: BlockFormat, words: tf.Tensor, shapes: Sequence[tf.TensorShape], *, initial: tf.Tensor
) -> list[tf.Tensor]:
    """int32 [payloads, chunks, payload_words] -> float32 tensors; see `Codec.decode_sum`."""
    return reference.decode_sum(fmt, words, shapes, initial=initial)


def all_finite(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """Whether all values of all float32 tensors are finite: a bool scalar."""
    return reference.all_finite(tensors)
