"""Which task the others wait for, and the likely reason.

A task is a straggler while what it does itself (input, computing, host; not what it waits for and not the
exchange) takes over 1.3 times the median of all tasks; of each task the median of the last five measured
executions counts, so that it has to last. Of an even number of tasks the lower one of the two in the middle
counts: of two tasks the faster one. And it has to lose a tenth of its step by it.

The cause is the part in which it loses the most. Threads that could run and had no core tell contention from a
device, or a callback, that is slow by itself. A slow link shows in no such part, because an exchange ends for all
at about the same time: it is found in how fast tasks can send (`link_speed.py`), where that takes much of the time.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from tfdml.monitoring.records import PARTS, Anatomy, Event, TaskAnatomy

CAUSES = ("input", "CPU contention", "slower device", "host", "slow link")

LIMIT = 1.3
_KEPT = 5
_LEAST_OF_STEP = 0.1  # that a task must lose: 2 ms against 1 are nothing where a step takes 50
_OWN = ("input", "computing", "host")
# Of the time in which threads could run, the part without a core: so much, and so many times that of the others.
_WAITING_SHARE = 0.1
_WAITING_FACTOR = 1.2
# A link is slow on which sending takes so much of the time, and so many times that of the fastest one.
_LINK_SHARE = 0.2
_LINK_FACTOR = 3.0


class Stragglers:
    """Looks at one anatomy after the other, and says what has changed.

    Attributes:
        current: task -> cause, of those that have been named and still are stragglers.
    """

    def __init__(self) -> None:
        self._last: deque[tuple[Anatomy, np.ndarray]] = deque(maxlen=_KEPT)
        self.current: dict[str, str] = {}

    def look(self, anatomy: Anatomy, link_rates: np.ndarray) -> list[Event]:
        """Events of stragglers that are new, and of those that are none any longer.

        Args:
            link_rates: see `Measurement.link_rates`.
        """
        self._last.append((anatomy, link_rates))
        if len(anatomy.tasks) < 2 or len(self._last) < _KEPT:
            return []
        tasks = _medians([each for each, _ in self._last])
        found = _slow_tasks(tasks) or _slow_link(tasks, _usual_rates([r for _, r in self._last]))
        events = []
        for task, (cause, message) in found.items():
            if task not in self.current:
                self.current[task] = cause
                events.append(Event(anatomy.step, "straggler", task, cause, message))
        for task in [task for task in self.current if task not in found]:
            cause = self.current.pop(task)
            gone = f"{task} is as fast as the others again"
            events.append(Event(anatomy.step, "straggler_gone", task, cause, gone))
        return events


def _medians(anatomies: Sequence[Anatomy]) -> list[TaskAnatomy]:
    """Of each task the medians of its parts, and the sums of its facts."""
    found = []
    for each in zip(*(anatomy.tasks for anatomy in anatomies), strict=True):
        parts = {part: statistics.median(t.parts[part] or 0.0 for t in each) for part in PARTS}
        facts = {fact: sum(task.facts[fact] for task in each) for fact in each[0].facts}
        step = statistics.median(task.step_seconds for task in each)
        found.append(TaskAnatomy(each[0].task, step, parts, facts))
    return found


def _slow_tasks(tasks: Sequence[TaskAnatomy]) -> dict[str, tuple[str, str]]:
    """Task -> (cause, sentence)."""
    own = [sum(task.parts[part] or 0.0 for part in _OWN) for task in tasks]
    median = statistics.median_low(own)
    usual = {part: statistics.median_low([t.parts[part] or 0.0 for t in tasks]) for part in _OWN}
    usual_share = statistics.median_low([waiting_share(task.facts) for task in tasks])
    found = {}
    for task, seconds in zip(tasks, own, strict=True):
        if seconds <= LIMIT * median or seconds - median < _LEAST_OF_STEP * task.step_seconds:
            continue
        excess = {part: (task.parts[part] or 0.0) - usual[part] for part in _OWN}
        cause, reason = _cause(task, max(excess, key=lambda part: excess[part]), usual_share)
        found[task.task] = (
            cause,
            f"{task.task} is a straggler, the others wait for it: {1e3 * seconds:.3g} ms a step of its own, "
            f"{seconds / max(median, 1e-9):.2g} times the median. Likely cause: {cause} ({reason})",
        )
    return found


def _cause(task: TaskAnatomy, part: str, usual_share: float) -> tuple[str, str]:
    milliseconds = f"{1e3 * (task.parts[part] or 0.0):.3g} ms a step"
    if part == "input":
        return "input", f"{milliseconds} until its data is there"
    share = waiting_share(task.facts)
    if share > _WAITING_SHARE and share > _WAITING_FACTOR * usual_share:
        other = task.facts["other_cpu_seconds"] / max(task.facts["seconds"], 1e-9)
        return (
            "CPU contention",
            f"its threads had no core in {share:.0%} of the time in which they could run; other processes of the "
            f"host used {other:.1f} cores",
        )
    if part == "host":
        return "host", f"{milliseconds} in Python, between executions"
    return "slower device", f"{milliseconds} to compute, and its threads had their cores"


def waiting_share(facts: Mapping[str, float]) -> float:
    """The part of the time in which threads could run, and had no core."""
    ready = facts["cpu_seconds"] + facts["run_queue_seconds"]
    return facts["run_queue_seconds"] / ready if ready > 0 else 0.0


def _usual_rates(every: Sequence[np.ndarray]) -> np.ndarray:
    """[tasks, tasks]: of each link the median of what is known, 0 where nothing is."""
    rates = np.where(np.array(every) > 0, np.array(every), np.nan)
    known = np.isfinite(rates).any(axis=0)
    return np.where(known, np.nanmedian(np.where(known, rates, 0.0), axis=0), 0.0)


def _slow_link(tasks: Sequence[TaskAnatomy], rates: np.ndarray) -> dict[str, tuple[str, str]]:
    """The task that all slow links have in common; of two, the one that sends."""
    shares = {
        (sender, receiver): tasks[sender].facts["sent_bytes"]
        / rates[sender, receiver]
        / max(tasks[sender].facts["seconds"], 1e-9)
        for sender, receiver in np.argwhere(rates > 0).tolist()
    }
    if len(shares) < 2:
        return {}
    slow = [
        link
        for link, share in shares.items()
        if share > _LINK_SHARE and share > _LINK_FACTOR * min(shares.values())
    ]
    candidates = [t for t in range(len(tasks)) if slow and all(t in link for link in slow)]
    if not candidates:
        return {}
    task = max(candidates, key=lambda t: sum(t == sender for sender, _ in slow))
    worst = max(slow, key=lambda link: shares[link])
    sender, receiver = (tasks[number].task for number in worst)
    name = tasks[task].task
    return {
        name: (
            "slow link",
            f"{name} is behind a slow link: {sender} sends to {receiver} at {rates[worst] / 1e6:.3g} MB/s, others at "
            f"up to {rates.max() / 1e6:.3g} MB/s, and that takes {min(shares[worst], 1.0):.0%} of the time",
        )
    }
