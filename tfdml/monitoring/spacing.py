"""Which executions are measured: one every so many steps.

A measured execution is slower than others: exchanges do not overlap in it, and norms and hashes are computed. So
that this costs nothing to speak of whatever a step takes, so many steps lie between two that they take seconds,
unless the user says how many.
"""

from __future__ import annotations

import math

from tfdml.monitoring.measurement import Measurement

_LEAST_STEPS = 100
_SECONDS = 5.0


class Spacing:
    """All tasks come to the same answers: these follow from numbers that all have.

    Args:
        every_steps: None is 100, or as many as take five seconds, where that is more.
    """

    def __init__(self, every_steps: int | None):
        self._every = every_steps or _LEAST_STEPS
        self._follows = every_steps is None

    def is_due(self, step: int, wanted: int) -> bool:
        """Whether to measure the execution after `step` steps, of up to `wanted`."""
        return (step + wanted) // self._every > step // self._every

    def learn(self, measured: Measurement) -> None:
        """How long a step takes."""
        if not self._follows or not measured.num_steps:
            return
        # Of the first replica alone: no sum, which another kind of CPU could round in another way.
        begin, end = measured.host("returned")[0], measured.head("read_exit")[0]
        seconds = max(float(end - begin), 1e-6) / measured.num_steps
        self._every = _LEAST_STEPS * max(math.ceil(_SECONDS / seconds / _LEAST_STEPS), 1)
