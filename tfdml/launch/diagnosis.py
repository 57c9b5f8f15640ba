"""Which task the others wait for, when none gets on any more, or when they have lost it. Pure."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tfdml.cluster.spec import ClusterSpec
from tfdml.heartbeat import Beat
from tfdml.launch.failure import HUNG_STATUS, Failure, status_of
from tfdml.launch.plan import Task


class Standing(NamedTuple):
    """Where a task stands: what it has last said, and whether a signal has stopped it."""

    name: str
    beat: Beat
    is_stopped: bool = False


class Diagnosis(NamedTuple):
    """The tasks that are stuck, by their positions; none where that cannot be told. And a clause about them."""

    stuck: tuple[int, ...]
    text: str


def hang(
    tasks: Sequence[Task],
    beats: Sequence[Beat],
    are_stopped: Sequence[bool],
    *,
    timeout_seconds: float,
    now: float,
) -> Failure:
    """Of `tasks`, those of this host that still run and say no more. Of a job with ps: the chief, and any stopped."""
    standings = [
        Standing(task.name, beat, stopped)
        for task, beat, stopped in zip(tasks, beats, are_stopped, strict=True)
    ]
    if any("ps" in task.cluster.jobs for task in tasks):
        found = _of_chief(standings)
    else:
        found = diagnose(standings, is_whole_job=_are_whole_job(tasks))
    text = f"no task got on for {timeout_seconds:g} s (--hang_timeout_seconds): {found.text}"
    return _failure(
        [tasks[i] for i in found.stuck], HUNG_STATUS, now, f"{text}; see the stacks above"
    )


def lost_because_stopped(stopped: Sequence[Task], told_by: Failure) -> Failure:
    """The cause of `told_by`, a failure for want of another task, where signals have stopped some."""
    text = stopped_sentence([task.name for task in stopped])
    it = "it" if len(stopped) == 1 else "them"
    status = status_of(-signal.SIGSTOP)
    return _failure(stopped, status, told_by.ended_at, f"{text}, and {told_by.task_name} lost {it}")


def _failure(culprits: Sequence[Task], status: int, at: float, text: str) -> Failure:
    cluster: ClusterSpec | None = culprits[0].cluster if len(culprits) == 1 else None
    names = ", ".join(task.name for task in culprits)
    return Failure(names or "the job", status, at, cluster=cluster, told=text)


def _are_whole_job(tasks: Sequence[Task]) -> bool:
    """Whether no other launcher has tasks of this job."""
    here = {task.name for task in tasks}
    return all(other.task_name in here for task in tasks for other in task.cluster.tasks())


def diagnose(standings: Sequence[Standing], *, is_whole_job: bool = True) -> Diagnosis:
    """`standings` are those of the tasks that run on this host; not `is_whole_job`: there are more elsewhere."""
    stopped = _where(standings, lambda each: each.is_stopped)
    if stopped:
        return Diagnosis(stopped, stopped_sentence([standings[i].name for i in stopped]))
    if len(standings) == 1 and is_whole_job:
        return Diagnosis((0,), f"{_named(standings, (0,))} stuck")
    absent = _where(standings, lambda each: not each.beat.is_waiting)
    if absent and len(absent) < len(standings):
        # Who has never said anything may do without heartbeats: suspect those first that do not.
        absent = tuple(i for i in absent if standings[i].beat.count) or absent
        where = "outside of the call in which the others wait"
        return Diagnosis(absent, f"{_named(standings, absent)} stuck {where}")
    if not is_whole_job and not absent:
        where = "wait for another host's task: see what its launcher says"
        return Diagnosis((), f"all tasks of this host ({_places(standings)}) {where}")
    fewest = min(each.beat.count for each in standings)
    behind = _where(standings, lambda each: each.beat.count == fewest)
    if len(behind) < len(standings):
        return Diagnosis(behind, f"{_named(standings, behind)} the furthest behind")
    if not is_whole_job:
        return Diagnosis(behind, f"{_named(standings, behind)} stuck, on this host")
    which = f"all {len(standings)} tasks have come to the same place"
    return Diagnosis((), f"{which} ({_places(standings)}), so none of them can be named")


def _of_chief(standings: Sequence[Standing]) -> Diagnosis:
    """Of a job in which the others serve, and say nothing of themselves."""
    if any(each.is_stopped for each in standings) or not standings[0].beat.is_waiting:
        return diagnose(standings)
    chief = standings[0]
    return Diagnosis(
        (), f"{chief.name} ({_place(chief)}) waits for steps that the workers do not finish"
    )


def stopped_sentence(names: Sequence[str]) -> str:
    """Of tasks that a signal has stopped."""
    verb = "has" if len(names) == 1 else "have"
    return f"{', '.join(names)} {verb} been stopped by a signal (SIGSTOP, say)"


def _where(standings: Sequence[Standing], holds: Callable[[Standing], bool]) -> tuple[int, ...]:
    return tuple(i for i, each in enumerate(standings) if holds(each))


def _named(standings: Sequence[Standing], positions: Sequence[int]) -> str:
    names = ", ".join(f"{standings[i].name} ({_place(standings[i])})" for i in positions)
    return f"{names} {'is' if len(positions) == 1 else 'are'}"


def _places(standings: Sequence[Standing]) -> str:
    return " or ".join(dict.fromkeys(map(_place, standings)))


def _place(standing: Standing) -> str:
    beat = standing.beat
    return f"after step {beat.step}" if beat.count else "without a sign of life"
