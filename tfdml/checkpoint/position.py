"""Where training stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Position:
    """Where training stands: the next epoch to train (0 based), the step in it, and steps trained in all."""

    epoch: int
    step_in_epoch: int
    global_step: int
