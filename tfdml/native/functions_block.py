"""The blockwise codecs: native ops where there are any, else the same in TensorFlow's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import tensorflow as tf

from tfdml.native import reference
from tfdml.native.block_format import BlockFormat
from tfdml.native.choice import or_reference


@or_reference(reference.encode)
def encode(
    ops: Any, fmt: BlockFormat, values: Sequence[tf.Tensor], *, seed: tf.Tensor, chunks: int = 1
) -> tf.Tensor:
    return ops.tfdml_block_encode(values=values, seed=seed, chunks=chunks, **asdict(fmt))


@or_reference(reference.encode_feedback)
def encode_feedback(
    ops: Any,
    fmt: BlockFormat,
    values: Sequence[tf.Tensor],
    residuals: Sequence[tf.Variable],
    *,
    seed: tf.Tensor,
    commit: tf.Tensor,
    residual_scale: tf.Tensor,
    chunks: int = 1,
) -> tf.Tensor:
    return ops.tfdml_block_encode_feedback(
        values=values,
        residuals=[residual.handle for residual in residuals],
        seed=seed,
        commit=commit,
        residual_scale=residual_scale,
        chunks=chunks,
        **asdict(fmt),
    )


@or_reference(reference.encode_remainder)
def encode_remainder(
    ops: Any,
    fmt: BlockFormat,
    values: tf.Tensor,
    residuals: Sequence[tf.Variable],
    offset: tf.Tensor,
    *,
    seed: tf.Tensor,
    commit: tf.Tensor,
) -> tf.Tensor:
    return ops.tfdml_block_encode_remainder(
        values=values,
        residuals=[residual.handle for residual in residuals],
        offset=offset,
        seed=seed,
        commit=commit,
        **asdict(fmt),
    )


@or_reference(reference.decode_sum)
def decode_sum(
    ops: Any,
    fmt: BlockFormat,
    words: tf.Tensor,
    shapes: Sequence[tf.TensorShape],
    *,
    initial: tf.Tensor,
) -> list[tf.Tensor]:
    return ops.tfdml_block_decode_sum(
        words=words, initial=initial, shapes=shapes, n=len(shapes), **asdict(fmt)
    )


@or_reference(reference.all_finite)
def all_finite(ops: Any, tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return ops.tfdml_all_finite(values=tensors) if tensors else tf.constant(True)
