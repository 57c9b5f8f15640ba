"""What may look on while gradients are exchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import keras

from tfdml.collectives.dense import Gradient


class ExchangeObserver(Protocol):
    """Called on every replica, in replica context, while a step that is to be measured is traced.

    It returns what it was shown, which may wait for ops of its own; a collective must not be among these.
    """

    def has_gradients(self, gradients: Sequence[Gradient]) -> list[Gradient]:
        """This replica's gradients, unscaled, as they go into the exchange."""

    def has_sums(
        self, sums: Sequence[Gradient], variables: Sequence[keras.Variable]
    ) -> list[Gradient]:
        """What came out of it, before clipping, with the variables in the same order."""
