"""How many steps of a parameter-server job are scheduled at once.

Sending a function to a worker and fetching its answer takes the coordinator about a millisecond, whatever the
function does. Where a step takes no longer, one function makes several.
"""

from __future__ import annotations

import time
from collections.abc import Callable

# A function of a quarter of a second hides what sending it costs, and is soon made again when a worker is lost.
_SECONDS = 0.25
_MOST_STEPS = 8
# Rates are taken over at least so long: answers come in bursts.
_WINDOW_SECONDS = 0.1


class ClosureSize:
    """Follows how long a step takes.

    Args:
        num_workers: that make steps at the same time.
        max_pending_steps: how many steps may be under way at once; each worker gets its part.

    Attributes:
        steps: so many should be scheduled at once, from 1 to 8.
    """

    def __init__(
        self,
        num_workers: int,
        max_pending_steps: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._num_workers = num_workers
        most = _MOST_STEPS if max_pending_steps is None else max_pending_steps // num_workers
        self._most = max(1, min(most, _MOST_STEPS))
        self._clock = clock
        self.steps = 1
        self.rest()

    def rest(self) -> None:
        """What comes next is no measure of a step: nothing was scheduled for a while."""
        self._since, self._made = self._clock(), 0

    def made(self, steps: int) -> None:
        """So many more steps have been made."""
        self._made += steps
        seconds = self._clock() - self._since
        if seconds < _WINDOW_SECONDS:
            return
        step_seconds = seconds * self._num_workers / self._made
        self.steps = max(1, min(int(_SECONDS / step_seconds), self._most))
        self.rest()
