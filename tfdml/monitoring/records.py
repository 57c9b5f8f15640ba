"""What there is to say about a job while it trains: the records that every writer is given.

A record is plain data, so that a writer may keep it, send it, or show it, on a thread of its own. `json_lines.py`
says how each looks in a file.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

Split = Literal["train", "validation"]
Scope = Literal["step", "epoch", "run"]
Status = Literal["finished", "failed", "stopped"]

# The rows of the anatomy of a step, in the order in which they are stacked.
PARTS = ("input", "computing", "waiting", "communicating", "host", "unexplained")


@dataclass(frozen=True)
class Started:
    """A process of the job has begun to train.

    Attributes:
        task: its name ("worker 0"); tasks: those of all that train, in the order of their replicas.
        step: steps trained before; epochs: how many there are to be; steps_per_epoch: None where only reading tells.
        num_replicas: of the job; global_batch_size: None where it is not always the same.
    """

    task: str
    tasks: tuple[str, ...]
    step: int
    epochs: int
    steps_per_epoch: int | None
    num_replicas: int
    global_batch_size: int | None
    host: str
    pid: int
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Scalars:
    """Numbers at one step.

    Attributes:
        scope: "step": as of now; "epoch": of an epoch that has ended; "run": of the whole run.
        epoch: from 0 on.
        values: by name. Losses and metrics have the names that Keras gives them, without `val_`; the rest is in
            `names.py`.
    """

    step: int
    epoch: int
    split: Split
    scope: Scope
    values: Mapping[str, float]
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class TaskAnatomy:
    """Where the time of one task went, in seconds a step; None: cannot be known on its devices.

    Attributes:
        step_seconds: the whole of it, by the task's own clock; what `PARTS` leave unexplained is one of them.
    """

    task: str
    step_seconds: float
    parts: Mapping[str, float | None]
    facts: Mapping[str, float]


@dataclass(frozen=True)
class Anatomy:
    """What all tasks did in one measured execution that ended at `step`."""

    step: int
    epoch: int
    tasks: Sequence[TaskAnatomy]
    clock_error_seconds: float
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Event:
    """Something that a person should know, in a sentence.

    Attributes:
        kind: "straggler", "straggler_gone", "desync", "warning".
        task: whom it is about; "" for the job.
        cause: of a straggler, one of `stragglers.CAUSES`; of a desync, the variable.
    """

    step: int
    kind: str
    task: str
    cause: str
    message: str
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Settings:
    """The configuration of the run, by path ("train.epochs")."""

    values: Mapping[str, Any]
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Text:
    """A text in Markdown."""

    step: int
    name: str
    markdown: str
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Images:
    """uint8, or float in [0, 1]: [k, height, width, channels], channels 1, 3 or 4."""

    step: int
    name: str
    images: np.ndarray
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Histogram:
    """How the values of one variable are spread: counts [k] between edges [k + 1]."""

    step: int
    name: str
    edges: np.ndarray
    counts: np.ndarray
    time: float = field(default_factory=time.time)

    @classmethod
    def of(cls, step: int, name: str, values: np.ndarray, bins: int = 30) -> Histogram:
        """Of finite values in `values`, of any shape."""
        flat = np.asarray(values, np.float64).ravel()
        counts, edges = np.histogram(flat[np.isfinite(flat)], bins=bins)
        return cls(step, name, edges, counts.astype(np.float64))


@dataclass(frozen=True)
class Artefact:
    """A file that belongs to the run, such as its model."""

    path: str
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Ended:
    """The process has ended its training; `step` is the last."""

    step: int
    status: Status
    message: str
    time: float = field(default_factory=time.time)


Record: TypeAlias = (
    Started | Scalars | Anatomy | Event | Settings | Text | Images | Histogram | Artefact | Ended
)
