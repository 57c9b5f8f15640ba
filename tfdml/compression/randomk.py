"""Values at random positions that all replicas know: no indices travel."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfdml.compression.density import (
    check_density,
    check_one_chunk,
    count_elements,
    no_two_phase,
    selected_count,
)
from tfdml.native import functions_sparse


class RandomK:
    """Sends the values at k = ceil(density * n) random positions, one in each of k equal parts.

    Stich et al. 2018, "Sparsified SGD with Memory", with stratified positions, so that they differ and every
    tensor gets its share. They follow from the seed, whose two words lead the payload. All replicas use the
    same seed, so that the same positions are summed.

    Args:
        density: part of the values that is sent, above 0 and at most 1. Random values say less than the largest,
            so more of them are needed than of topk.
        unbiased: multiply each value by the width of its part, so that decoding gives the values on average.
            It is meant for use without error feedback, which needs the values as they are.
    """

    name = "randomk"
    shared_seed = True

    def __init__(self, density: float = 0.05, unbiased: bool = False):
        check_density(self.name, density)
        self.density = density
        self.unbiased = unbiased
        self.feedback = not unbiased

    def selected(self, num_elements: int) -> int:
        """How many of `num_elements` values are sent."""
        return selected_count(self.density, num_elements)

    def chunk_elements(self, num_elements: int, chunks: int = 1) -> int:
        check_one_chunk(self.name, chunks)
        return num_elements

    def payload_words(self, num_elements: int, chunks: int = 1) -> int:
        """The seed, and a value for each position."""
        check_one_chunk(self.name, chunks)
        return 2 + self.selected(num_elements)

    def encode(self, values: Sequence[tf.Tensor], *, seed: tf.Tensor, chunks: int = 1) -> tf.Tensor:
        check_one_chunk(self.name, chunks)
        k = self.selected(count_elements(values))
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
        check_one_chunk(self.name, chunks)
        return functions_sparse.randomk_feedback(
            values,
            residuals,
            self.selected(count_elements(values)),
            seed=seed,
            unbiased=self.unbiased,
            commit=commit,
            residual_scale=residual_scale,
        )

    def encode_remainder(
        self,
        values: tf.Tensor,
        residuals: Sequence[tf.Variable],
        offset: tf.Tensor,
        *,
        seed: tf.Tensor,
        commit: tf.Tensor,
    ) -> tf.Tensor:
        raise no_two_phase(self.name)

    def decode_sum(
        self, words: tf.Tensor, shapes: Sequence[tf.TensorShape], *, initial: tf.Tensor
    ) -> list[tf.Tensor]:
        return functions_sparse.sum_random(words, shapes, initial=initial)
