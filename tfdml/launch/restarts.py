"""Whether a job that has failed starts again, after how long, and with how many workers. Decides, does nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tfdml.launch.failure import Failure
from tfdml.launch.settings import Settings

PORT_CLASH_STARTS = 4
MAX_BACKOFF_SECONDS = 60.0


@dataclass(frozen=True)
class Decision:
    """`says` has the lines to print, none where nothing is to be said."""

    starts_again: bool
    says: Sequence[str] = ()
    after_seconds: float = 0.0


class Restarts:
    """What one launcher remembers of the starts of its job.

    Restarts and back-off count since the job got on: since it has trained a step beyond the furthest of
    all earlier starts. A job that fails at the same step again and again does not get on.
    """

    def __init__(
        self, settings: Settings, *, num_workers: int = 0, has_new_ports: bool = False
    ) -> None:
        """`num_workers` can be reduced where it is given; `has_new_ports`: a start takes other ports."""
        self._settings = settings
        self._num_workers = num_workers
        self._clashes_allowed = PORT_CLASH_STARTS - 1 if has_new_ports else 0
        self._clashes = 0
        self._furthest_step = 0
        self._used = 0
        self._failures_of: dict[int, int] = {}
        self.left_out: tuple[int, ...] = ()  # Workers, as the whole job numbers them.

    def after(self, failure: Failure, furthest_step: int) -> Decision:
        """What to do about `failure` of a start in which some task has come to `furthest_step`."""
        if furthest_step > self._furthest_step:
            self._furthest_step = furthest_step
            self._used = self._clashes = 0
            # One that had to be left out stays suspected until the whole job gets on.
            self._failures_of = dict.fromkeys(self.left_out, self._settings.give_up_after - 1)
        if failure.is_port_clash and self._clashes < self._clashes_allowed:
            self._clashes += 1
            told = f"{failure.task_name} found its port taken; all tasks start on new ports"
            return Decision(True, [told])
        allowed = self._settings.max_restarts
        if not allowed:
            return Decision(False)
        if failure.is_usage:
            told = f"no restart: exit status {failure.returncode} means a mistake that it would only repeat"
            return Decision(False, [told])
        if self._used == allowed:
            told = f"no restart: --max_restarts={allowed} without a step of progress are used up"
            return Decision(False, [told])
        self._used += 1
        self._blame(failure)
        resized = self._resize()
        seconds = 0.0 if failure.is_preempted else self._backoff_seconds()
        after = f"in {seconds:g} s" if seconds else "at once"
        told = f"restart {self._used} of {allowed} {after}: {failure.cause().rstrip('.')}"
        return Decision(True, [*resized, told], seconds)

    def _backoff_seconds(self) -> float:
        first = self._settings.restart_backoff_seconds
        return min(first * 2.0 ** min(self._used - 1, 30), max(first, MAX_BACKOFF_SECONDS))

    def _blame(self, failure: Failure) -> None:
        if failure.cluster is None or failure.is_preempted or failure.looks_like_lost_peer:
            return
        there = [i for i in range(self._num_workers) if i not in self.left_out]
        if failure.cluster.task_index < len(there):
            index = there[failure.cluster.task_index]
            self._failures_of[index] = self._failures_of.pop(index, 0) + 1  # And last in order.

    def _resize(self) -> list[str]:
        """Leave workers out that keep failing, for one start; the next is with all again."""
        full, smallest = self._num_workers, self._settings.min_workers
        if smallest is None:
            return []
        if self.left_out:
            self.left_out = ()
            return [f"the next start is with all {full} workers again"]
        last_first = reversed(self._failures_of.items())
        given_up = [index for index, n in last_first if n >= self._settings.give_up_after]
        given_up.sort(key=lambda index: -self._failures_of[index])
        self.left_out = tuple(sorted(given_up[: full - smallest]))
        if not self.left_out:
            return []
        names = ", ".join(f"worker {index}" for index in self.left_out)
        left = full - len(self.left_out)
        return [
            f"{names} failed {self._settings.give_up_after} times without progress: going on with {left} of "
            f"{full} workers (--min_workers={smallest}), until the next restart"
        ]
