"""PowerSGD: every gradient matrix becomes the product of two thin ones, which are summed densely."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfdml.collectives import raw
from tfdml.collectives.feedback import RESIDUAL
from tfdml.collectives.replica_state import ReplicaState
from tfdml.collectives.scheme import StepContext
from tfdml.errors import ConfigError

_FACTOR = "powersgd_q"
# A column of which orthogonalisation leaves less than this part of its length depends on the ones before.
_DEPENDENT = 1e-5


class PowerSgd:
    """One step of subspace iteration per exchange (Vogels et al. 2019, algorithm 1), with error feedback.

    A gradient of shape [..., out] is a matrix M of [m, out]. With the factor Q [out, rank] of the step before:
    P = sum over replicas of M Q, orthogonalised; Q = sum over replicas of M^T P; the sum of the gradients is
    taken as P Q^T. Two small all-reduces replace one large one, for any number of replicas.

    The residual of a replica is what its own matrix loses, M - P P^T M. The paper takes the aggregated product
    instead; both add up to the same over the replicas, and this one is a projection, so it never grows.

    Matrices of one shape are multiplied in one batch. A matrix whose factors would be more than half of it
    travels dense.

    Args:
        rank: columns of P and Q, at least 1; 4 is the value of the paper's larger experiments.
    """

    min_elements = 1024

    def __init__(self, rank: int = 4):
        if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
            raise ConfigError(
                f"`rank` must be a whole number of at least 1, got {rank!r}. The default is 4."
            )
        self.rank = rank

    def build(self, variables: Sequence[keras.Variable], state: ReplicaState) -> None:
        """Create a residual and a factor Q for each of `variables`."""
        self._state = state
        for variable in variables:
            state.zeros_like(variable, RESIDUAL)
            generator = np.random.default_rng(zlib.crc32(variable.path.encode()))
            columns = _matrix_shape(variable.shape)[1]
            start = generator.standard_normal([columns, self.rank]).astype(np.float32)
            state.copy(variable, _FACTOR, start)

    def pays(self, shape: Sequence[int]) -> bool:
        rows, columns = _matrix_shape(shape)
        return 2 * self.rank * (rows + columns) <= rows * columns

    def reduce(
        self,
        gradients: Sequence[tf.Tensor],
        variables: Sequence[keras.Variable],
        context: StepContext,
        bucket: int,
    ) -> list[tf.Tensor]:
        groups: dict[tuple[int, int], list[int]] = {}
        for position, gradient in enumerate(gradients):
            groups.setdefault(_matrix_shape(gradient.shape), []).append(position)
        matrices, factors = [], []
        for shape, members in groups.items():
            residuals = [self._state.local(variables[p], RESIDUAL) for p in members]
            inputs = [
                tf.reshape(gradients[p] + context.residual_scale * residual, shape)
                for p, residual in zip(members, residuals, strict=True)
            ]
            matrices.append(_stack(inputs))
            factors.append(
                _stack([self._state.local(variables[p], _FACTOR).read_value() for p in members])
            )
        products = _sum_together(
            [matrix @ factor for matrix, factor in zip(matrices, factors, strict=True)]
        )
        bases = [_orthogonalise(product) for product in products]
        own = [
            tf.matmul(matrix, basis, transpose_a=True)
            for matrix, basis in zip(matrices, bases, strict=True)
        ]
        totals = _sum_together(own)
        result: list[tf.Tensor | None] = [None] * len(gradients)
        for members, matrix, factor, basis, mine, total in zip(
            groups.values(), matrices, factors, bases, own, totals, strict=True
        ):
            # A column that is zero would stay so in every step to come.
            alive = tf.reduce_any(total != 0.0, axis=1, keepdims=True)
            next_factor = tf.where(alive, total, factor)
            lost = matrix - tf.matmul(basis, mine, transpose_b=True)
            product = tf.matmul(basis, total, transpose_b=True) + context.initial
            for number, position in enumerate(members):
                variable = variables[position]
                shape = variable.shape
                result[position] = tf.reshape(product[number], shape)
                self._keep(variable, RESIDUAL, tf.reshape(lost[number], shape), context.commit)
                self._keep(variable, _FACTOR, next_factor[number], context.commit)
        return result

    def wire_bytes(self, shapes: Sequence[Sequence[int]], num_replicas: int) -> int:
        elements = sum(self.rank * sum(_matrix_shape(shape)) for shape in shapes)
        return 2 * (num_replicas - 1) * 4 * elements // num_replicas

    def _keep(
        self, variable: keras.Variable, name: str, value: tf.Tensor, commit: tf.Tensor
    ) -> None:
        slot = self._state.local(variable, name)
        slot.assign(tf.where(commit, value, slot.read_value()))


def _matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """[..., out] as [m, out]."""
    *rows, columns = (int(size) for size in shape)
    return int(np.prod(rows, dtype=np.int64)), columns


def _stack(matrices: list[tf.Tensor]) -> tf.Tensor:
    return matrices[0][None] if len(matrices) == 1 else tf.stack(matrices)


def _sum_together(tensors: list[tf.Tensor]) -> list[tf.Tensor]:
    """The sums over replicas of several tensors, in one collective."""
    flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
    pieces = tf.split(raw.all_reduce(flat), [tensor.shape.num_elements() for tensor in tensors])
    return [tf.reshape(piece, tensor.shape) for piece, tensor in zip(pieces, tensors, strict=True)]


def _orthogonalise(matrices: tf.Tensor) -> tf.Tensor:
    """Columns of [batch, m, rank] made orthonormal (modified Gram-Schmidt); dependent ones become zero."""
    columns: list[tf.Tensor] = []
    for column in tf.unstack(matrices, axis=2):
        before = tf.norm(column, axis=1, keepdims=True)
        for other in columns:
            column -= tf.reduce_sum(column * other, axis=1, keepdims=True) * other
        length = tf.norm(column, axis=1, keepdims=True)
        independent = length > _DEPENDENT * before
        columns.append(tf.where(independent, tf.math.divide_no_nan(column, length), 0.0))
    return tf.stack(columns, axis=2)
