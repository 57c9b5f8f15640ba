"""PowerSGD: every gradient matrix becomes the product of two thin ones, which are summed densely."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfdml.collectives.feedback import RESIDUAL
from tfdml.collectives.replica_state import ReplicaState
from tfdml.collectives.scheme import StepContext
from tfdml.errors import ConfigError
from tfdml.native import functions_lowrank as lowrank

_FACTOR = "powersgd_q"


class PowerSgd:
    """One step of subspace iteration per exchange (Vogels et al. 2019, algorithm 1), with error feedback.

    A gradient of shape [..., out] is a matrix M of [m, out]. With the factor Q [out, rank] of the step before:
    P = sum over replicas of M Q, orthogonalised; Q = sum over replicas of M^T P; the sum of the gradients is
    taken as P Q^T. Two small all-reduces replace one large one, for any number of replicas.

    The residual of a replica is what its own matrix loses, M - P P^T M. The paper takes the aggregated product
    instead; both add up to the same over the replicas, and this one is a projection, so it never grows.

    The residual holds M between the two all-reduces. A matrix whose factors would be more than half of it travels
    dense.

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
        residuals = [self._state.local(variable, RESIDUAL) for variable in variables]
        factors = [self._state.local(variable, _FACTOR) for variable in variables]
        shapes = [gradient.shape for gradient in gradients]
        commit = context.commit
        products = lowrank.project(
            gradients,
            residuals,
            factors,
            self.rank,
            commit=commit,
            residual_scale=context.residual_scale,
        )
        bases = lowrank.orthogonalise(context.group.all_reduce(products), shapes, self.rank)
        own = lowrank.back_project(bases, residuals, self.rank, commit=commit)
        totals = context.group.all_reduce(own)
        lowrank.keep_factors(totals, factors, shapes, self.rank, commit=commit)
        return lowrank.expand(bases, totals, shapes, self.rank, initial=context.initial)

    def wire_bytes(self, shapes: Sequence[Sequence[int]], num_replicas: int) -> int:
        elements = sum(self.rank * sum(_matrix_shape(shape)) for shape in shapes)
        return 2 * (num_replicas - 1) * 4 * elements // num_replicas


def _matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """[..., out] as [m, out]."""
    *rows, columns = (int(size) for size in shape)
    return int(np.prod(rows, dtype=np.int64)), columns
