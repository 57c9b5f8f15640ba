"""What codecs share that send a part of the values: how many that is, and that a payload is one chunk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NoReturn

import tensorflow as tf

from tfdml.errors import ConfigError


class SparseCodec:
    """A codec that sends k = ceil(density * n) of n values; see `Codec` for the methods.

    Encoding a sum again would lose what other replicas sent, so there is no second phase: payloads have one
    chunk, and remainders are refused.

    Args:
        density: part of the values that is sent, above 0 and at most 1.
    """

    name: str

    def __init__(self, density: float):
        number = isinstance(density, int | float) and not isinstance(density, bool)
        if not number or not 0 < density <= 1:
            raise ConfigError(
                f"`density` of {self.name} must be above 0 and at most 1, got {density!r}. "
                "0.01 sends one value in a hundred."
            )
        self.density = density

    def selected(self, num_elements: int, chunks: int = 1) -> int:
        """How many of `num_elements` values are sent.

        Of the decimal number that was written: 0.01 of 700 is 7, not 8.
        """
        return math.ceil(
            Fraction(repr(float(self.density))) * self.chunk_elements(num_elements, chunks)
        )

    def selected_of(self, values: Sequence[tf.Tensor], chunks: int = 1) -> int:
        """How many values of these tensors are sent."""
        return self.selected(sum(value.shape.num_elements() for value in values), chunks)

    def chunk_elements(self, num_elements: int, chunks: int = 1) -> int:
        if chunks != 1:
            self._refuse_two_phase()
        return num_elements

    def encode_remainder(
        self,
        values: tf.Tensor,
        residuals: Sequence[tf.Variable],
        offset: tf.Tensor,
        *,
        seed: tf.Tensor,
        commit: tf.Tensor,
    ) -> tf.Tensor:
        self._refuse_two_phase()

    def _refuse_two_phase(self) -> NoReturn:
        raise ConfigError(
            f"{self.name} has no two-phase form: encoding the sum again would lose what other replicas sent. "
            "Use the one_shot exchange."
        )
