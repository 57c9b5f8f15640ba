"""PowerSGD's products: native ops where there are any, else the same in TensorFlow's own.

A tensor of shape [..., columns] is a matrix M of [rows, columns]. `left` and `right` are flat tensors that hold,
one after the other, a thin matrix [rows, rank] or [columns, rank] for each of a list of such tensors, so that one
collective sums them all.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfdml.native import loader, reference_lowrank


def project(
    gradients: Sequence[tf.Tensor],
    residuals: Sequence[tf.Variable],
    factors: Sequence[tf.Variable],
    rank: int,
    *,
    commit: tf.Tensor,
    residual_scale: tf.Tensor,
) -> tf.Tensor:
    """Put M = gradient + residual_scale * residual into the residuals; return all M Q, `left`.

    Q are the factors, [columns, rank] each. Without `commit` nothing changes and the result means nothing.
    """
    ops = loader.ops()
    if ops is None:
        return reference_lowrank.project(
            gradients, residuals, factors, rank, commit=commit, residual_scale=residual_scale
        )
    return ops.tfdml_lowrank_project(
        gradients=gradients,
        residuals=[residual.handle for residual in residuals],
        factors=[factor.handle for factor in factors],
        commit=commit,
        residual_scale=residual_scale,
        shapes=[gradient.shape for gradient in gradients],
        rank=rank,
    )


def orthogonalise(left: tf.Tensor, shapes: Sequence[tf.TensorShape], rank: int) -> tf.Tensor:
    """Make the columns of every thin matrix orthonormal; dependent ones and those of zeros become zero.

    The same bits for any CPU and any number of threads, also without native ops.
    """
    ops = loader.ops()
    if ops is None:
        return reference_lowrank.orthogonalise(left, shapes, rank)
    return ops.tfdml_lowrank_orthogonalise(products=left, shapes=shapes, rank=rank)


def back_project(
    left: tf.Tensor, residuals: Sequence[tf.Variable], rank: int, *, commit: tf.Tensor
) -> tf.Tensor:
    """For M in the residuals and P in `left`, return all M^T P, `right`; the residuals become M - P (M^T P)^T.

    Without `commit` nothing changes and the result means nothing.
    """
    ops = loader.ops()
    if ops is None:
        return reference_lowrank.back_project(left, residuals, rank, commit=commit)
    return ops.tfdml_lowrank_back_project(
        bases=left,
        residuals=[residual.handle for residual in residuals],
        commit=commit,
        shapes=[residual.shape for residual in residuals],
        rank=rank,
    )


def keep_factors(
    right: tf.Tensor,
    factors: Sequence[tf.Variable],
    shapes: Sequence[tf.TensorShape],
    rank: int,
    *,
    commit: tf.Tensor,
) -> None:
    """Put `right` into the factors, except for columns of zeros, which would stay so in every step to come."""
    ops = loader.ops()
    if ops is None:
        reference_lowrank.keep_factors(right, factors, shapes, rank, commit=commit)
        return
    ops.tfdml_lowrank_keep_factors(
        totals=right,
        factors=[factor.handle for factor in factors],
        commit=commit,
        shapes=shapes,
        rank=rank,
    )


def expand(
    left: tf.Tensor,
    right: tf.Tensor,
    shapes: Sequence[tf.TensorShape],
    rank: int,
    *,
    initial: tf.Tensor,
) -> list[tf.Tensor]:
    """`initial` + P Q^T for P in `left` and Q in `right`, in `shapes`; the same bits everywhere."""
    ops = loader.ops()
    if ops is None:
        return reference_lowrank.expand(left, right, shapes, rank, initial=initial)
    return ops.tfdml_lowrank_expand(
        bases=left, totals=right, initial=initial, shapes=shapes, rank=rank, n=len(shapes)
    )
