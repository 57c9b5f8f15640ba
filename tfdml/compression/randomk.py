"""Values at random positions that all replicas know: no indices travel."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfdml.compression.sparse import SparseCodec
from tfdml.native import functions_sparse


class RandomK(SparseCodec):
    """Sends the values at k = ceil(density * n) random positions, one in each of k equal parts.

    Stich et al. 2018, "Sparsified SGD with Memory", with stratified positions, so that they differ and every
    tensor gets its share. They follow from the seed, whose two words lead the payload. All replicas use the
    same seed, so that the same positions are summed.

    Args:
        density: part of the values that is sent, above 0 and at most 1. Random values say less than the largest,
            so more of them are needed than of topk.
        unbiased: multiply each value by the width of its part, so that decoding gives the values on average.
            False is for error feedback, which needs the values as they are; but what waits at random positions
            is stale when its turn comes, and training loses more that way (benchmarks/quality.py).
    """

    name = "randomk"
    shared_seed = True

    def __init__(self, density: float = 0.25, unbiased: bool = True):
        super().__init__(density)
        self.unbiased = unbiased
        self.feedback = not unbiased

    def payload_words(self, num_elements: int, chunks: int = 1) -> int:
        """The seed, and a value for each position."""
        return 2 + self.selected(num_elements, chunks)

    def encode(self, values: Sequence[tf.Tensor], *, seed: tf.Tensor, chunks: int = 1) -> tf.Tensor:
        k = self.selected_of(values, chunks)
        return functions_sparse.randomk(values, k, seed=seed, unbiased=self.unbiased)

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
        return functions_sparse.randomk_feedback(
            values,
            residuals,
            self.selected_of(values, chunks),
            seed=seed,
            unbiased=self.unbiased,
            commit=commit,
            residual_scale=residual_scale,
        )

    def decode_sum(
        self, words: tf.Tensor, shapes: Sequence[tf.TensorShape], *, initial: tf.Tensor
    ) -> list[tf.Tensor]:
        return functions_sparse.sum_random(words, shapes, initial=initial)
