"""What may look on while gradients are exchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import keras

from tfdml.collectives.dense import Gradient


class ExchangeObserver(Protocol):
    """Called on every replica, in replica context, while a step that is to be measured is traced.

    It may add ops of its own to the graph; they must not change what it is shown, and hold no collective.
    """

    def has_gradients(self, gradients: Sequence[Gradient]) -> None:
        """This replica's gradients, unscaled, as they go into the exchange."""

    def has_sums(self, sums: Sequence[Gradient], variables: Sequence[keras.Variable]) -> None:
        """What came out of it, before clipping, with the variables in the same order."""
