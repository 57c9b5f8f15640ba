"""The sparse codecs: native ops where there are any, else the same in TensorFlow's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfdml.native import reference_sparse
from tfdml.native.choice import or_reference


@or_reference(reference_sparse.topk)
def topk(ops: Any, values: Sequence[tf.Tensor], k: int) -> tf.Tensor:
    return ops.tfdml_topk(values=values, k=k)


@or_reference(reference_sparse.topk_feedback)
def topk_feedback(
    ops: Any,
    values: Sequence[tf.Tensor],
    residuals: Sequence[tf.Variable],
    k: int,
    *,
    commit: tf.Tensor,
    residual_scale: tf.Tensor,
) -> tf.Tensor:
    return ops.tfdml_topk_feedback(
        values=values,
        residuals=[residual.handle for residual in residuals],
        commit=commit,
        residual_scale=residual_scale,
        k=k,
    )


@or_reference(reference_sparse.topk_momentum)
def topk_momentum(
    ops: Any,
    values: Sequence[tf.Tensor],
    velocities: Sequence[tf.Variable],
    residuals: Sequence[tf.Variable],
    k: int,
    *,
    momentum: tf.Tensor,
    commit: tf.Tensor,
) -> tf.Tensor:
    return ops.tfdml_topk_momentum(
        values=values,
        velocities=[velocity.handle for velocity in velocities],
        residuals=[residual.handle for residual in residuals],
        commit=commit,
        momentum=momentum,
        k=k,
    )


@or_reference(reference_sparse.sum_indexed)
def sum_indexed(
    ops: Any, words: tf.Tensor, shapes: Sequence[tf.TensorShape], *, initial: tf.Tensor
) -> list[tf.Tensor]:
    return ops.tfdml_sum_indexed(words=words, initial=initial, shapes=shapes, n=len(shapes))


@or_reference(reference_sparse.randomk)
def randomk(
    ops: Any, values: Sequence[tf.Tensor], k: int, *, seed: tf.Tensor, unbiased: bool
) -> tf.Tensor:
    return ops.tfdml_randomk(values=values, seed=seed, k=k, unbiased=unbiased)


@or_reference(reference_sparse.randomk_feedback)
def randomk_feedback(
    ops: Any,
    values: Sequence[tf.Tensor],
    residuals: Sequence[tf.Variable],
    k: int,
    *,
    seed: tf.Tensor,
    unbiased: bool,
    commit: tf.Tensor,
    residual_scale: tf.Tensor,
) -> tf.Tensor:
    return ops.tfdml_randomk_feedback(
        values=values,
        residuals=[residual.handle for residual in residuals],
        seed=seed,
        commit=commit,
        residual_scale=residual_scale,
        k=k,
        unbiased=unbiased,
    )


@or_reference(reference_sparse.sum_random)
def sum_random(
    ops: Any, words: tf.Tensor, shapes: Sequence[tf.TensorShape], *, initial: tf.Tensor
) -> list[tf.Tensor]:
    return ops.tfdml_sum_random(words=words, initial=initial, shapes=shapes, n=len(shapes))
