"""The blockwise codecs: native ops where there are any, else the same in TensorFlow's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import tensorflow as tf

from tfdml.native import loader, reference
from tfdml.native.block_format import BlockFormat


def encode(
    fmt: BlockFormat, values: Sequence[tf.Tensor], *, seed: tf.Tensor, chunks: int = 1
) -> tf.Tensor:
    """float32 tensors -> int32 [chunks, payload_words]; see `Codec.encode`."""
    ops = loader.ops()
    if ops is None or not values:
        return reference.encode(fmt, values, seed=seed, chunks=chunks)
    return ops.tfdml_block_encode(values=values, seed=seed, chunks=chunks, **asdict(fmt))


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
    ops = loader.ops()
    if ops is None or not values:
        return reference.encode_feedback(
            fmt,
            values,
            residuals,
            seed=seed,
            commit=commit,
            residual_scale=residual_scale,
            chunks=chunks,
        )
    return ops.tfdml_block_encode_feedback(
        values=values,
        residuals=[residual.handle for residual in residuals],
        seed=seed,
        commit=commit,
        residual_scale=residual_scale,
        chunks=chunks,
        **asdict(fmt),
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
    ops = loader.ops()
    if ops is None or not residuals:
        return reference.encode_remainder(fmt, values, residuals, offset, seed=seed, commit=commit)
    return ops.tfdml_block_encode_remainder(
        values=values,
        residuals=[residual.handle for residual in residuals],
        offset=offset,
        seed=seed,
        commit=commit,
        **asdict(fmt),
    )


def decode_sum(
    fmt: BlockFormat, words: tf.Tensor, shapes: Sequence[tf.TensorShape], *, initial: tf.Tensor
) -> list[tf.Tensor]:
    """int32 [payloads, chunks, payload_words] -> float32 tensors; see `Codec.decode_sum`."""
    ops = loader.ops()
    if ops is None or not shapes:
        return reference.decode_sum(fmt, words, shapes, initial=initial)
    return ops.tfdml_block_decode_sum(
        words=words, initial=initial, shapes=shapes, n=len(shapes), **asdict(fmt)
    )


def all_finite(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """Whether all values of all float32 tensors are finite: a bool scalar."""
    ops = loader.ops()
    if ops is None or not tensors:
        return reference.all_finite(tensors)
    return ops.tfdml_all_finite(values=tensors)
