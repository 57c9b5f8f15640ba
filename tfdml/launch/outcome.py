"""How the tasks of a job ended, all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tfdml.errors import PREEMPTED_STATUS
from tfdml.launch.failure import Failure


@dataclass(frozen=True)
class Outcome:
    """How a job ended: `failure` is the root cause, `stopped_by` the signal to stop it.

    `returncodes` are those of the tasks that ended after that signal. `was_told_to_stop` also where
    somebody did while the tasks of a failed job were being ended.
    """

    failure: Failure | None = None
    stopped_by: int | None = None
    reason: str = ""
    returncodes: Sequence[int] = field(default_factory=tuple)
    was_told_to_stop: bool = False

    @property
    def status(self) -> int:
        """The launcher's exit status."""
        if self.stopped_by is not None:
            preempted = PREEMPTED_STATUS in self.returncodes
            return PREEMPTED_STATUS if preempted else 128 + self.stopped_by
        return self.failure.status if self.failure else 0
