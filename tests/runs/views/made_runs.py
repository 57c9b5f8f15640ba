"""Runs as tfdml.callbacks.Monitoring leaves them, without the training: written by its own writer."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfdml.monitoring.json_lines import JsonLines, path_of
from tfdml.monitoring.records import (
    PARTS,
    Anatomy,
    Ended,
    Event,
    Scalars,
    Settings,
    Started,
    Status,
    TaskAnatomy,
)

STEPS_PER_EPOCH = 10
BEGAN = 1_780_000_000.0
# A process that is not: Linux numbers them up to 2^22.
NO_PROCESS = 2**22 + 1


class MadeRun:
    """A job of `workers` tasks in `model_dir`."""

    def __init__(self, model_dir: Path, workers: int = 2, *, epochs: int = 3, rate: float = 1000.0):
        self.model_dir = model_dir
        self.workers = workers
        self.epochs = epochs
        self.rate = rate
        self.time = BEGAN
        self.step_seconds = 1.0
        self.tasks = tuple(f"worker {index}" for index in range(workers))
        self._files = [JsonLines(path_of(model_dir, task)) for task in self.tasks]

    def write(self, record: Any, task: int = 0) -> None:
        self._files[task].write(record)

    def start(
        self, step: int = 0, *, settings: Mapping[str, Any] | None = None, pid: int = NO_PROCESS
    ) -> None:
        """All tasks begin at `step`; as the process `pid` of this host."""
        for index, task in enumerate(self.tasks):
            started = Started(
                task=task,
                tasks=self.tasks,
                step=step,
                epochs=self.epochs,
                steps_per_epoch=STEPS_PER_EPOCH,
                num_replicas=self.workers,
                global_batch_size=64,
                host=socket.gethostname(),
                pid=pid,
                time=self.time,
            )
            self.write(started, index)
        if settings is not None:
            self.write(Settings(settings, self.time))

    def train(self, first: int, last: int, *, loss: float | None = None) -> None:
        """Steps `first` + 1 to `last`, with all that a task says of them."""
        for step in range(first + 1, last + 1):
            self.time += self.step_seconds
            epoch = (step - 1) // STEPS_PER_EPOCH
            now = math.exp(-step / 10) if loss is None else loss
            values = {
                "loss": now,
                "accuracy": 1 - now,
                "examples_per_second": self.rate,
                "steps_per_second": self.rate / 64,
                "memory_bytes": 5e8,
                "gradient_norm": 3 * now,
                "update_ratio/dense/kernel": now / 100,
            }
            for index in range(self.workers):
                self.write(Scalars(step, epoch, "train", "step", values, self.time), index)
            self.write(self._anatomy(step, epoch))
            if step % STEPS_PER_EPOCH == 0:
                more = {"wire_bytes_per_step": 2e6, "compression_ratio": 4.0, "epoch_seconds": 10.0}
                self.write(Scalars(step, epoch, "train", "epoch", values | more, self.time))
                validation = {"loss": 1.5 * now, "accuracy": 1 - 1.5 * now}
                self.write(Scalars(step, epoch, "validation", "epoch", validation, self.time))

    def _anatomy(self, step: int, epoch: int) -> Anatomy:
        parts = dict(zip(PARTS, (0.001, 0.004, 0.002, 0.002, 0.0005, 0.0005), strict=True))
        found = [
            TaskAnatomy(task, 0.01, parts, {"memory_bytes": 5e8, "cores": 2.0})
            for task in self.tasks
        ]
        return Anatomy(step, epoch, found, 0.0, self.time)

    def event(self, step: int, kind: str, task: str, cause: str, message: str) -> None:
        self.write(Event(step, kind, task, cause, message, self.time))

    def end(self, step: int, status: Status = "finished", message: str = "") -> None:
        for index in range(self.workers):
            self.write(Ended(step, status, message, self.time), index)


def finished_run(
    model_dir: Path, workers: int = 2, *, rate: float = 1000.0, **settings: Any
) -> Path:
    """One that has come to its end, without restarts."""
    run = MadeRun(model_dir, workers, rate=rate)
    run.start(settings={"train.epochs": 3, **settings})
    run.train(0, 30)
    run.end(30)
    return model_dir


def running_run(model_dir: Path) -> MadeRun:
    """One that trains now, as this process, which has not been there for long."""
    run = MadeRun(model_dir)
    run.step_seconds = 0.001
    run.time = time.time() - 0.015
    run.start(settings={}, pid=os.getpid())
    run.train(0, 15)
    return run
