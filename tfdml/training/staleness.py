"""How late updates came: how many others were made between the reading of the weights and the update."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


class Staleness:
    """Counts the updates of a training by their staleness."""

    def __init__(self) -> None:
        self._counts = np.zeros(1, np.int64)
        self.skipped = 0

    def add(self, staleness: Iterable[int]) -> None:
        """Of some updates; a negative number is one that was skipped."""
        for value in map(int, staleness):
            if value < 0:
                self.skipped += 1
                continue
            if value >= len(self._counts):
                self._counts = np.pad(self._counts, (0, value + 1 - len(self._counts)))
            self._counts[value] += 1

    @property
    def histogram(self) -> np.ndarray:
        """int64 [largest + 1]: how many updates were 0, 1, 2, ... late."""
        return self._counts.copy()

    @property
    def total(self) -> int:
        """Updates that were made."""
        return int(self._counts.sum())

    @property
    def mean(self) -> float:
        return float(self._counts @ np.arange(len(self._counts)) / max(self.total, 1))

    @property
    def largest(self) -> int:
        return len(self._counts) - 1

    def quantile(self, part: float) -> int:
        """The staleness that `part` of all updates do not exceed."""
        reached = np.cumsum(self._counts) >= part * self.total
        return int(np.argmax(reached))

    def __str__(self) -> str:
        return (
            f"staleness of {self.total} updates: mean {self.mean:.2f}, 90% at most {self.quantile(0.9)}, "
            f"largest {self.largest}; {self.skipped} skipped"
        )
