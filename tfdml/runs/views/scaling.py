"""What more workers bring: examples/s of runs with different numbers of replicas."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tfdml.monitoring import names
from tfdml.runs.views.job import Job


@dataclass(frozen=True)
class Scaling:
    """One run beside the one with the fewest replicas.

    Attributes:
        rate: examples/s of the whole job: the median of its epochs, without the first, which compiles; NaN unknown.
        speedup: over the run with the fewest replicas.
        efficiency: the rate of a replica over that of a replica there; 1 is as good as can be expected.
    """

    name: str
    workers: int
    replicas: int
    rate: float
    speedup: float
    efficiency: float


def rate(job: Job) -> float:
    """See `Scaling.rate`; of steps, where no epoch has ended."""
    for scope in ("epoch", "step"):
        values = list(job.series("train", scope, names.EXAMPLES_PER_SECOND).values)
        kept = [value for value in values[1:] or values if math.isfinite(value)]
        if kept:
            return statistics.median(kept)
    return math.nan


def scaling(jobs: Sequence[tuple[str, Job]]) -> list[Scaling]:
    """By rising number of replicas; the first has efficiency 1."""
    found = []
    for name, job in jobs:
        start = job.chief.now
        if start is not None:
            found.append((name, job.num_workers, start.num_replicas, rate(job)))
    found.sort(key=lambda each: each[2])
    if not found:
        return []
    _, _, base_replicas, base_rate = found[0]
    return [
        Scaling(
            name,
            workers,
            replicas,
            own,
            own / base_rate,
            (own / replicas) / (base_rate / base_replicas),
        )
        for name, workers, replicas, own in found
    ]
