"""PowerSGD's products: native ops where there are any, else the same in TensorFlow's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfdml.native import reference_lowrank
from tfdml.native.choice import or_reference


@or_reference(reference_lowrank.project)
def project(
    ops: Any,
    gradients: Sequence[tf.Tensor],
    residuals: Sequence[tf.Variable],
    factors: Sequence[tf.Variable],
    rank: int,
    *,
    commit: tf.Tensor,
    residual_scale: tf.Tensor,
) -> tf.Tensor:
    return ops.tfdml_lowrank_project(
        gradients=gradients,
        residuals=[residual.handle for residual in residuals],
        factors=[factor.handle for factor in factors],
        commit=commit,
        residual_scale=residual_scale,
        shapes=[gradient.shape for gradient in gradients],
        rank=rank,
    )


@or_reference(reference_lowrank.orthogonalise)
def orthogonalise(
    ops: Any, left: tf.Tensor, shapes: Sequence[tf.TensorShape], rank: int
) -> tf.Tensor:
    return ops.tfdml_lowrank_orthogonalise(products=left, shapes=shapes, rank=rank)


@or_reference(reference_lowrank.back_project)
def back_project(
    ops: Any, left: tf.Tensor, residuals: Sequence[tf.Variable], rank: int, *, commit: tf.Tensor
) -> tf.Tensor:
    return ops.tfdml_lowrank_back_project(
        bases=left,
        residuals=[residual.handle for residual in residuals],
        commit=commit,
        shapes=[residual.shape for residual in residuals],
        rank=rank,
    )


@or_reference(reference_lowrank.keep_factors)
def keep_factors(
    ops: Any,
    right: tf.Tensor,
    factors: Sequence[tf.Variable],
    shapes: Sequence[tf.TensorShape],
    rank: int,
    *,
    commit: tf.Tensor,
) -> None:
    ops.tfdml_lowrank_keep_factors(
        totals=right,
        factors=[factor.handle for factor in factors],
        commit=commit,
        shapes=shapes,
        rank=rank,
    )


@or_reference(reference_lowrank.expand)
def expand(
    ops: Any,
    left: tf.Tensor,
    right: tf.Tensor,
    shapes: Sequence[tf.TensorShape],
    rank: int,
    *,
    initial: tf.Tensor,
) -> list[tf.Tensor]:
    return ops.tfdml_lowrank_expand(
        bases=left, totals=right, initial=initial, shapes=shapes, rank=rank, n=len(shapes)
    )
