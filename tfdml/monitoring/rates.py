"""Examples, steps and tokens a second, while steps are made: not in validation, callbacks of an epoch, and saving."""

from __future__ import annotations

import time
from collections.abc import Callable

from tfdml.monitoring import names


class Rates:
    """Counts what is trained.

    Args:
        tokens_per_example: None where that is not known.
        clock: seconds, running forward.
    """

    def __init__(self, tokens_per_example: int | None, clock: Callable[[], float] = time.monotonic):
        self._tokens = tokens_per_example
        self._clock = clock
        self.examples = 0
        self.epoch_begins()

    def epoch_begins(self) -> None:
        self._epoch_begin = self._since = self._until = self._clock()
        self._epoch = [0, 0]
        self._recent = [0, 0]

    def add(self, steps: int, examples: int) -> None:
        """An execution has ended now."""
        self._until = self._clock()
        self.examples += examples
        for counts in (self._epoch, self._recent):
            counts[0] += steps
            counts[1] += examples

    def since_last(self) -> dict[str, float]:
        """Rates since this was asked the last time in this epoch."""
        values = self._rates(self._recent, self._until - self._since)
        self._since, self._recent = self._until, [0, 0]
        return values | {names.EXAMPLES: float(self.examples)}

    def of_epoch(self) -> dict[str, float]:
        """Rates up to the last step of the epoch, and how long all of it took."""
        values = self._rates(self._epoch, self._until - self._epoch_begin)
        return values | {names.EPOCH_SECONDS: self._clock() - self._epoch_begin}

    def _rates(self, counts: list[int], seconds: float) -> dict[str, float]:
        steps, examples = counts
        if seconds <= 0 or not steps:
            return {}
        values = {
            names.STEPS_PER_SECOND: steps / seconds,
            names.EXAMPLES_PER_SECOND: examples / seconds,
        }
        if self._tokens:
            values[names.TOKENS_PER_SECOND] = self._tokens * examples / seconds
        return values
