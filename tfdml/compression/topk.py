"""The largest values, with their indices: two words for one value in a hundred."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfdml.compression.sparse import SparseCodec
from tfdml.native import functions_sparse


class TopK(SparseCodec):
    """Sends the k = ceil(density * n) values of the largest magnitude, and their indices.

    Aji and Heafield 2017, "Sparse Communication for Distributed Gradient Descent"; with error feedback it
    converges as SGD does (Stich et al. 2018, "Sparsified SGD with Memory"). The k are exact: native kernels
    estimate a threshold from a sample and search among what exceeds it.

    Args:
        density: part of the values that is sent, above 0 and at most 1.
    """

    name = "topk"
    unbiased = False
    feedback = True
    shared_seed = False

    def __init__(self, density: float = 0.01):
        super().__init__(density)

    def payload_words(self, num_elements: int, chunks: int = 1) -> int:
        """An index and a value for each that is sent."""
        return 2 * self.selected(num_elements, chunks)

    def encode(self, values: Sequence[tf.Tensor], *, seed: tf.Tensor, chunks: int = 1) -> tf.Tensor:
        """int32 [1, payload_words]; `seed` is not used."""
        return functions_sparse.topk(values, self.selected_of(values, chunks))

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
        """A residual is v where nothing was sent and 0 elsewhere."""
        k = self.selected_of(values, chunks)
        return functions_sparse.topk_feedback(
            values, residuals, k, commit=commit, residual_scale=residual_scale
        )

    def encode_momentum(
        self,
        values: Sequence[tf.Tensor],
        velocities: Sequence[tf.Variable],
        residuals: Sequence[tf.Variable],
        *,
        momentum: tf.Tensor,
        seed: tf.Tensor,
        commit: tf.Tensor,
    ) -> tf.Tensor:
        """Select from residuals that add up velocities instead of gradients: int32 [1, payload_words].

        u = momentum * u + values, v = v + u, then u = v = 0 where v is sent, with u the velocities and v the
        residuals: momentum correction and momentum factor masking of Deep Gradient Compression (Lin et al.
        2018, sections 3.2 and 3.3). Both are changed in place, and only if `commit` is true.
        """
        k = self.selected_of(values)
        return functions_sparse.topk_momentum(
            values, velocities, residuals, k, momentum=momentum, commit=commit
        )

    def decode_sum(
        self, words: tf.Tensor, shapes: Sequence[tf.TensorShape], *, initial: tf.Tensor
    ) -> list[tf.Tensor]:
        return functions_sparse.sum_indexed(words, shapes, initial=initial)
