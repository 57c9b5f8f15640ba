"""Which task the others wait for, and the likely reason.

A task is a straggler while what it does itself (input, computing, host; not what it waits for and not the
exchange) takes over 1.3 times the median of all tasks, in several measured executions in a row. Of an even number
of tasks the lower one of
the two in the middle counts: of two tasks the faster one.

The cause is the part in which it loses the most. Where that is computing, threads that could run and had no core tell
contention from a device that is slower by itself. A slow link shows in no such part, because an exchange ends for
all at about the same time: it is found in how fast tasks send while they have something to send
(`link_speed.py`).
"""

from __future__ import annotations

import statistics
from collections import Counter, deque
from collections.abc import Mapping

import numpy as np

from tfdml.monitoring.records import Anatomy, Event, TaskAnatomy

CAUSES = ("input", "CPU contention", "slower device", "host", "slow link")

LIMIT = 1.3
_IN_A_ROW = 3
_OWN = ("input", "computing", "host")
# Of the time in which threads could run, the part without a core: so much, and so much more than the others have.
_WAITING_SHARE = 0.1
_WAITING_MORE = 1.5
# A link is slow that is so many times slower than the fastest, where communicating is so large a part of a step.
_LINK_FACTOR = 3.0
_LINK_SHARE = 0.2


class Stragglers:
    """Looks at one anatomy after the other, and says what has changed."""

    def __init__(self) -> None:
        self._last: deque[dict[str, tuple[str, str]]] = deque(maxlen=_IN_A_ROW)
        self.current: dict[str, str] = {}

    def look(self, anatomy: Anatomy, link_rates: np.ndarray) -> list[Event]:
        """Events of stragglers that are new, and of those that are none any longer.

        Args:
            link_rates: see `Measurement.link_rates`.
        """
        found = _slow_tasks(anatomy)
        if not found:
            found = _slow_links(anatomy, link_rates)
        self._last.append(found)
        events = []
        if len(self._last) == _IN_A_ROW:
            for task in found:
                if task in self.current or any(task not in each for each in self._last):
                    continue
                cause = Counter(each[task][0] for each in self._last).most_common(1)[0][0]
                message = next(m for c, m in (e[task] for e in reversed(self._last)) if c == cause)
                self.current[task] = cause
                events.append(Event(anatomy.step, "straggler", task, cause, message))
        for task, cause in list(self.current.items()):
            if not any(task in each for each in self._last):
                del self.current[task]
                gone = f"{task} is as fast as the others again"
                events.append(Event(anatomy.step, "straggler_gone", task, cause, gone))
        return events


def _slow_tasks(anatomy: Anatomy) -> dict[str, tuple[str, str]]:
    """Task -> (cause, sentence)."""
    tasks = anatomy.tasks
    if len(tasks) < 2:
        return {}
    own = [sum(task.parts[part] or 0.0 for part in _OWN) for task in tasks]
    median = statistics.median_low(own)
    usual = {part: statistics.median_low([t.parts[part] or 0.0 for t in tasks]) for part in _OWN}
    found = {}
    for task, seconds in zip(tasks, own, strict=True):
        if seconds <= LIMIT * median:
            continue
        excess = {part: (task.parts[part] or 0.0) - usual[part] for part in _OWN}
        part = max(excess, key=lambda each: excess[each])
        cause, reason = _cause(task, part, anatomy)
        found[task.task] = (
            cause,
            f"{task.task} is a straggler, the others wait for it: {1e3 * seconds:.3g} ms a step of its own, "
            f"{seconds / max(median, 1e-9):.2g} times the median. Likely cause: {cause} ({reason})",
        )
    return found


def _cause(task: TaskAnatomy, part: str, anatomy: Anatomy) -> tuple[str, str]:
    if part == "input":
        return "input", f"{1e3 * (task.parts['input'] or 0):.3g} ms a step until its data is there"
    if part == "host":
        return (
            "host",
            f"{1e3 * (task.parts['host'] or 0):.3g} ms a step in Python, between executions",
        )
    share = waiting_share(task.facts)
    usual = statistics.median_low([waiting_share(each.facts) for each in anatomy.tasks])
    if share > _WAITING_SHARE and share > _WAITING_MORE * usual:
        other = task.facts["other_cpu_seconds"] / max(task.facts["seconds"], 1e-9)
        return (
            "CPU contention",
            f"its threads had no core in {share:.0%} of the time in which they could run; other processes of the "
            f"host used {other:.1f} cores",
        )
    return (
        "slower device",
        f"{1e3 * (task.parts['computing'] or 0):.3g} ms a step to compute, and its threads had their cores",
    )


def waiting_share(facts: Mapping[str, float]) -> float:
    """The part of the time in which threads could run, and had no core."""
    ready = facts["cpu_seconds"] + facts["run_queue_seconds"]
    return facts["run_queue_seconds"] / ready if ready > 0 else 0.0


def _slow_links(anatomy: Anatomy, rates: np.ndarray) -> dict[str, tuple[str, str]]:
    names = [task.task for task in anatomy.tasks]
    shares = [(t.parts["communicating"] or 0.0) / max(t.step_seconds, 1e-9) for t in anatomy.tasks]
    known = [(i, j) for i, j in np.argwhere(rates > 0).tolist() if i != j]
    if len(known) < 2 or statistics.median(shares) < _LINK_SHARE:
        return {}
    usual = max(
        float(rates[i, j]) for i, j in known
    )  # in a ring of three, two of three can be slow
    slow = [(i, j) for i, j in known if rates[i, j] * _LINK_FACTOR < usual]
    # The task that has a part in every slow link; of two, the one that sends.
    candidates = [t for t in range(len(names)) if slow and all(t in link for link in slow)]
    candidates.sort(key=lambda t: -sum(t == sender for sender, _ in slow))
    if not candidates:
        return {}
    task = candidates[0]
    (sender, receiver) = min(slow, key=lambda link: rates[link])
    return {
        names[task]: (
            "slow link",
            f"{names[task]} is behind a slow link: {names[sender]} sends to {names[receiver]} at "
            f"{rates[sender, receiver] / 1e6:.3g} MB/s, others at {usual / 1e6:.3g} MB/s, and "
            f"communicating takes {statistics.median(shares):.0%} of a step",
        )
    }
