"""How long workers were occupied, what restarts cost, and what all of it cost."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from tfdml.runs.views.job import Job


@dataclass(frozen=True)
class WorkerTime:
    """Of the whole training, over all of its starts.

    Attributes:
        hours: worker-hours: for each start the time from its beginning to its chief's last word, times the processes
            that the job had then. What a job takes to start, and to evaluate afterwards, is not in it.
        processes: of the newest start: those that train, and with parameter servers also workers and ps.
        idle_seconds: between the last sign of life of a start and the beginning of the next.
        repeated_steps: that were trained again after restarts.
        steps, examples: trained, those that were lost not counted; examples None where they are not known.
    """

    hours: float
    processes: int
    idle_seconds: float
    repeated_steps: int
    steps: int
    examples: int | None

    @classmethod
    def of(cls, job: Job) -> WorkerTime:
        starts = job.chief.starts
        serving = 0
        if job.record is not None and job.record.workers.get("ps"):
            # The chief alone trains, and tells of it; the others compute and hold what it asks for.
            serving = int(job.record.workers["ps"]) + int(job.record.workers.get("workers", 0))
        hours = sum(start.seconds * (len(start.tasks) + serving) / 3600 for start in starts)
        pairs = list(pairwise(starts))
        size = starts[-1].global_batch_size if starts else None
        return cls(
            hours=hours,
            processes=len(starts[-1].tasks) + serving if starts else 0,
            idle_seconds=sum(max(after.began - before.last, 0.0) for before, after in pairs),
            repeated_steps=sum(max(before.last_step - after.step, 0) for before, after in pairs),
            steps=job.step,
            examples=None if size is None else size * job.step,
        )
