"""The tasks of a parameter-server job that serve, and what the end of one means while the chief runs.

The chief runs the script; workers and ps serve it for ever, and an evaluator watches what it saves. TensorFlow's
coordinator goes on without a lost worker, and takes one back that listens at the same address. A lost ps takes its
part of the model with it, so it ends the job. Decides, starts nothing.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tfdml.cluster.ports import answers
from tfdml.heartbeat import Beat
from tfdml.launch.failure import Failure
from tfdml.launch.plan import Remote, Task
from tfdml.launch.restarts import MAX_BACKOFF_SECONDS, Decision
from tfdml.launch.settings import Settings

_CONNECT_SECONDS = 0.2


@dataclass
class _Replaceable:
    """A worker or an evaluator: what is known of it, and of those before it at its address."""

    address: str  # "" where it listens nowhere.
    started_at: float
    since_step: int | None = None  # Of the chief, when it was first seen to serve.
    times: int = 0  # That it has been replaced.
    failures: int = 0  # Since the chief got on while it served.
    quick_ends: int = 0  # In a row, each within a minute of its start.


class Replacements:
    """Of one start of a job, whose tasks have the positions of `tasks`. Without a ps nothing is replaced.

    Attributes:
        chief: the position of the task that runs the script while others serve; None in every other job.
    """

    def __init__(self, tasks: Sequence[Task | Remote], settings: Settings) -> None:
        self._settings = settings
        clusters = {i: task.cluster for i, task in enumerate(tasks) if isinstance(task, Task)}
        serves = {i: each.task_type for i, each in clusters.items() if "ps" in each.jobs}
        self.chief = next((i for i, name in serves.items() if name == "chief"), None)
        now = time.monotonic()
        self._replaceable = {
            i: _Replaceable(clusters[i].address, now)
            for i, name in serves.items()
            if self.chief is not None and name in ("worker", "evaluator")
        }

    def look(self, running: Collection[int], beat: Beat) -> None:
        """Notice which of the tasks at the positions `running` have begun to serve; `beat` is the chief's last."""
        for position, each in self._replaceable.items():
            if each.since_step is not None or position not in running:
                continue
            # The chief begins when all serve; one that is replaced has to show that it listens.
            begins = bool(beat.count) and (not each.times or not each.address)
            if begins or (each.address and answers(each.address, timeout_seconds=_CONNECT_SECONDS)):
                each.since_step = beat.step

    def started(self, position: int) -> None:
        """The task at `position` has been started again."""
        self._replaceable[position].started_at = time.monotonic()

    def after(self, position: int, failure: Failure, beat: Beat) -> Decision:
        """Whether only the task at `position`, which ended as `failure` says, starts again, while the chief runs."""
        each = self._replaceable.get(position)
        if each is None or (failure.is_usage and not failure.is_port_clash):
            return Decision(False)
        if beat.count and not each.times:
            self.look([position], beat)
        if each.since_step is None and not each.times:
            return Decision(False)  # It never served: the job has not begun.
        is_quick = failure.ended_at - each.started_at < MAX_BACKOFF_SECONDS
        served = each.since_step is not None and beat.step > each.since_step
        if served if each.address else not is_quick:
            each.failures = 0
        each.failures += 1
        each.quick_ends = each.quick_ends + 1 if is_quick else 1
        allowed = self._settings.give_up_after
        if each.failures >= allowed:
            between = (
                "without a step of progress" if each.address else "within a minute of its start"
            )
            told = (
                f"{failure.task_name} failed {each.failures} time(s) {between} (--give_up_after={allowed}): the "
                "job cannot go on"
            )
            return Decision(False, [told])
        each.times += 1
        each.since_step = None
        seconds = self._backoff_seconds(each.quick_ends)
        where = " at its address" if each.address else ""
        after = f" in {seconds:g} s" if seconds else ""
        told = f"{failure.cause()}; it starts again{where}{after} ({_ordinal(each.times)} time), the job goes on"
        return Decision(True, [told], seconds)

    def _backoff_seconds(self, in_a_row: int) -> float:
        first = self._settings.restart_backoff_seconds
        return min(first * 2.0 ** min(in_a_row - 1, 30), max(first, MAX_BACKOFF_SECONDS))


def _ordinal(number: int) -> str:
    last = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10)
    return f"{number}{last or 'th'}"
