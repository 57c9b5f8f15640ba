"""PowerSGD's products in TensorFlow's own ops: what the native kernels compute.

A tensor of shape [..., columns] is a matrix M of [rows, columns]. `left` and `right` are flat tensors that hold,
one after the other, a thin matrix [rows, rank] or [columns, rank] for each of a list of such tensors, so that one
collective sums them all.

What every replica computes from sums that all of them have, `orthogonalise` and `expand`, agrees with the native
kernels bit by bit, and is made of additions in a fixed order: TensorFlow's own sums and products of matrices differ
with the number of cores, and replicas would drift apart. What a replica computes from its own gradient agrees to
rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# A column of whose squared length less than this part is left depends on the columns before it.
_DEPENDENT = 1e-10


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
    products = []
    for gradient, residual, factor in zip(gradients, residuals, factors, strict=True):
        old = residual.read_value()
        matrix = tf.where(commit, gradient + residual_scale * old, old)
        residual.assign(matrix)
        products.append(tf.reshape(matrix, matrix_shape(matrix.shape)) @ factor)
    return _join(products)


def orthogonalise(left: tf.Tensor, shapes: Sequence[tf.TensorShape], rank: int) -> tf.Tensor:
    """Make the columns of every thin matrix orthonormal; dependent ones and those of zeros become zero.

    The same bits for any CPU and any number of threads. Modified Gram-Schmidt in float64; matrices of about the
    same height go through it together.
    """
    matrices = _split(left, [matrix_shape(shape)[0] for shape in shapes], rank)
    groups: dict[int, list[int]] = {}
    for position, matrix in enumerate(matrices):
        groups.setdefault(_power_of_two(matrix.shape[0]), []).append(position)
    for height, members in groups.items():
        padded = [
            tf.pad(matrices[p], [[0, height - matrices[p].shape[0]], [0, 0]]) for p in members
        ]
        bases = _orthonormal(tf.cast(tf.stack(padded), tf.float64), rank)
        for position, basis in zip(members, tf.unstack(bases), strict=True):
            matrices[position] = basis[: matrices[position].shape[0]]
    return _join(matrices)


def back_project(
    left: tf.Tensor, residuals: Sequence[tf.Variable], rank: int, *, commit: tf.Tensor
) -> tf.Tensor:
    """For M in the residuals and P in `left`, return all M^T P, `right`; the residuals become M - P (M^T P)^T.

    Without `commit` nothing changes and the result means nothing.
    """
    shapes = [matrix_shape(residual.shape) for residual in residuals]
    bases = _split(left, [rows for rows, _ in shapes], rank)
    own = []
    for residual, shape, basis in zip(residuals, shapes, bases, strict=True):
        matrix = residual.read_value()
        flat = tf.reshape(matrix, shape)
        factor = tf.matmul(flat, basis, transpose_a=True)
        lost = tf.reshape(flat - tf.matmul(basis, factor, transpose_b=True), residual.shape)
        residual.assign(tf.where(commit, lost, matrix))
        own.append(factor)
    return _join(own)


def keep_factors(
    right: tf.Tensor,
    factors: Sequence[tf.Variable],
    shapes: Sequence[tf.TensorShape],
    rank: int,
    *,
    commit: tf.Tensor,
) -> None:
    """Put `right` into the factors, except for columns of zeros, which would stay so in every step to come."""
    totals = _split(right, [matrix_shape(shape)[1] for shape in shapes], rank)
    for factor, total in zip(factors, totals, strict=True):
        alive = tf.reduce_any(total != 0.0, axis=0)
        factor.assign(tf.where(tf.logical_and(alive, commit), total, factor.read_value()))


def expand(
    left: tf.Tensor,
    right: tf.Tensor,
    shapes: Sequence[tf.TensorShape],
    rank: int,
    *,
    initial: tf.Tensor,
) -> list[tf.Tensor]:
    """`initial` + P Q^T for P in `left` and Q in `right`, in `shapes`; the same bits everywhere."""
    heights, widths = zip(*(matrix_shape(shape) for shape in shapes), strict=True)
    thin = zip(_split(left, heights, rank), _split(right, widths, rank), shapes, strict=True)
    results = []
    for basis, factor, shape in thin:
        result, negative = initial, -basis
        for k in range(rank):
            # A subtraction, because TensorFlow's optimizer puts chains of additions into another order.
            result -= negative[:, k, None] * factor[None, :, k]
        results.append(tf.reshape(result, shape))
    return results


def matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """[..., columns] as [rows, columns]."""
    *rows, columns = (int(size) for size in shape)
    return int(np.prod(rows, dtype=np.int64)), columns


def _orthonormal(matrices: tf.Tensor, rank: int) -> tf.Tensor:
    """float64 [batch, power of two, rank] -> float32, with orthonormal columns."""
    before = _sum_rows(matrices * matrices)
    columns = []
    for number in range(rank):
        column, others = matrices[:, :, :1], matrices[:, :, 1:]
        dots = _sum_rows(column * matrices)
        square = dots[:, :, :1]
        independent = square > _DEPENDENT * before[:, :, number : number + 1]
        # Not `column / sqrt`, for which TensorFlow's optimizer would put another function.
        length = tf.where(independent, tf.sqrt(square), 1.0)
        columns.append(tf.cast(tf.where(independent, column / length, 0.0), tf.float32))
        parts = dots[:, :, 1:] / tf.where(independent, square, 1.0)
        matrices = others - tf.where(independent, parts, 0.0) * column
    return tf.concat(columns, axis=2)


def _sum_rows(matrices: tf.Tensor) -> tf.Tensor:
    """[batch, power of two, n] -> [batch, 1, n], by halves: the first plus the second, until one is left."""
    while (size := matrices.shape[1]) > 1:
        matrices = matrices[:, : size // 2] + matrices[:, size // 2 :]
    return matrices


def _power_of_two(size: int) -> int:
    """The smallest that is not below `size`."""
    return 1 << max(size - 1, 0).bit_length()


def _join(matrices: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.concat([tf.reshape(matrix, [-1]) for matrix in matrices], axis=0)


def _split(flat: tf.Tensor, heights: Sequence[int], rank: int) -> list[tf.Tensor]:
    pieces = tf.split(flat, [height * rank for height in heights])
    return [
        tf.reshape(piece, [height, rank]) for piece, height in zip(pieces, heights, strict=True)
    ]
