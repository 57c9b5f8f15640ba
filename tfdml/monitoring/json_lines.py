r"""MODEL_DIR/monitoring/TASK.jsonl: what a task had to say, one JSON object a line; no TensorFlow, for readers.

Every task appends to a file of its own: `worker-0.jsonl`, `chief-0.jsonl`. A process that is started again goes on in
the file of the one before it, so that the number of "started" lines less one is the number of restarts of the task.
Lines are whole or, where a process was killed in the middle, the last one is not: readers leave out what is no
JSON. All tasks write "started", "scalars" of scope "step", "event" (of warnings) and "ended"; the rest is written
by the first task of `tasks` alone, which is the chief. NaN and infinities are the strings "NaN", "Infinity" and
"-Infinity".

Every line has `kind` and `time` (seconds since 1970, of the writer's clock), and the fields of the record of that
name in `records.py`:

    {"kind": "started", "time": ..., "task": "worker 0", "tasks": ["worker 0", "worker 1"], "step": 0, "epochs": 12,
     "steps_per_epoch": 22, "num_replicas": 2, "global_batch_size": 64, "host": "a", "pid": 4711}
    {"kind": "settings", "values": {"train.epochs": 12, ...}}
    {"kind": "scalars", "step": 16, "epoch": 0, "split": "train", "scope": "step",
     "values": {"loss": 1.9, "examples_per_second": 9000.0, "steps_per_second": 140.0, "memory_bytes": 5e8, ...}}
        about once a second: the loss so far in its epoch, rates since the line before; and of measured executions:
        {"gradient_norm", "clip_rate", "learning_rate", "loss_scale", "skipped_steps", "update_ratio/PATH"}
    {"kind": "scalars", ..., "scope": "epoch", "split": "train", "values": {"loss": 0.4, "accuracy": 0.9,
     "examples_per_second": ..., "epoch_seconds": ..., "wire_bytes_per_step": ..., ...}}
    {"kind": "scalars", ..., "scope": "epoch", "split": "validation", "values": {"loss": 0.5, "accuracy": 0.88}}
    {"kind": "anatomy", "step": 104, "epoch": 4, "clock_error_seconds": 0.0, "tasks": [
        {"task": "worker 0", "step_seconds": 0.007,
         "parts": {"input": 1e-4, "computing": 4e-3, "waiting": 1e-3, "communicating": 2e-3, "host": 2e-4,
                   "unexplained": 1e-4},
         "facts": {"memory_bytes": 5e8, "cpu_seconds": ..., "run_queue_seconds": ..., ...}}, ...]}
        parts are seconds a step, null where the task's devices do not let them be known (GPU, TPU)
    {"kind": "event", "step": 304, "event": "straggler", "task": "worker 1", "cause": "input", "message": "..."}
        event: straggler, straggler_gone, desync, warning; cause: one of `stragglers.CAUSES`, or a variable
    {"kind": "ended", "step": 264, "status": "finished", "message": ""}
        status: finished, stopped (told to stop, and saved), failed. A process that was killed says nothing.

Texts, images, histograms and artefacts are not in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfdml.monitoring.records import Anatomy, Ended, Event, Record, Scalars, Settings, Started
from tfdml.strict_json import plain, with_floats

DIRECTORY = "monitoring"

_KINDS: dict[type, str] = {
    Started: "started",
    Settings: "settings",
    Scalars: "scalars",
    Anatomy: "anatomy",
    Event: "event",
    Ended: "ended",
}


def path_of(model_dir: Path, task: str) -> Path:
    """The file of `task` ("worker 0")."""
    return model_dir / DIRECTORY / f"{task.replace(' ', '-')}.jsonl"


class JsonLines:
    """The writer of one task's file; see `MetricWriter`."""

    name = "JSON lines"

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: a line is one write, so that two processes of one task cannot mix theirs.
        self._file = path.open("ab", buffering=0)
        if self._file.tell() and not _ends_a_line(path):
            self._file.write(b"\n")  # what a killed process has left is a line of its own

    def write(self, record: Record) -> None:
        kind = _KINDS.get(type(record))
        if kind is None:
            return
        content = plain(record)
        if isinstance(record, Event):
            content["event"] = content.pop("kind")
        line = (json.dumps({"kind": kind, **content}, allow_nan=False) + "\n").encode()
        if self._file.write(line) != len(line):
            raise OSError(28, "No space left on device", self._file.name)

    def close(self) -> None:
        self._file.close()


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a file, oldest first; numbers that JSON does not know are floats again.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        for line in file:
            content = parse(line)
            if content is not None:
                yield content


def parse(line: bytes) -> dict[str, Any] | None:
    """What one line says; None where it is not whole."""
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return with_floats(content) if isinstance(content, dict) and "kind" in content else None


def read_all(model_dir: Path) -> dict[str, list[dict[str, Any]]]:
    """The lines of all tasks, by the name of the task ("worker 0"); empty where nothing was monitored."""
    found = {}
    for path in sorted((model_dir / DIRECTORY).glob("*.jsonl")):
        job, _, index = path.stem.rpartition("-")
        found[f"{job} {index}"] = list(read(path))
    return found


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
