"""What one task has written into MODEL_DIR/monitoring, followed while it grows."""

from __future__ import annotations

import os
import platform
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tfdml.monitoring import json_lines
from tfdml.runs.views.series import Series

# A task that says nothing for so long is worth a word; it tells of itself about once a second while it trains.
SILENT_SECONDS = 15.0


@dataclass
class Start:
    """A process of the task, from its start to what it said last.

    Attributes:
        step: steps trained before; last_step: steps trained when it said something last.
        status: how it ended; "" for one that has not said so.
    """

    began: float
    step: int
    tasks: tuple[str, ...]
    host: str
    pid: int
    epochs: int
    steps_per_epoch: int | None
    num_replicas: int
    global_batch_size: int | None
    last: float
    last_step: int
    status: str = ""
    message: str = ""

    @property
    def seconds(self) -> float:
        return max(self.last - self.began, 0.0)

    def is_alive(self) -> bool | None:
        """Whether its process runs; None on another host."""
        if self.host not in (socket.gethostname(), platform.node()):
            return None
        try:
            # A later process may have been given the same number.
            process = psutil.Process(self.pid)
            return process.create_time() < self.began + 1 and process.status() != "zombie"
        except psutil.Error:
            return False


@dataclass
class Task:
    """A task; what of it is known.

    Attributes:
        starts: of this training, oldest first; after one that was finished, a start at step 0 is a new training.
        values: the newest numbers of a step.
        series: (split, scope, name) -> values; scope as in `records.Scalars`, or ("train", "anatomy",
            "TASK/PART") in seconds.
        anatomy: the newest line of that kind; events: all lines of that kind; settings: of the newest start.
    """

    name: str
    starts: list[Start] = field(default_factory=list)
    epoch: int = 0
    values: dict[str, float] = field(default_factory=dict)
    series: dict[tuple[str, str, str], Series] = field(default_factory=dict)
    anatomy: dict[str, Any] | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def now(self) -> Start | None:
        """The newest start."""
        return self.starts[-1] if self.starts else None

    @property
    def restarts(self) -> int:
        return max(len(self.starts) - 1, 0)

    def state(self, time: float) -> str:
        """In a word or two: finished, stopped, failed, lost (gone without a word), starting, training, silent."""
        start = self.now
        if start is None:
            return "not started"
        if start.status:
            return start.status
        if start.is_alive() is False:
            return "lost"
        if time - start.last > SILENT_SECONDS:
            return f"silent {duration(time - start.last)}"
        return "training" if start.last_step > start.step or self.values else "starting"

    def take(self, line: dict[str, Any]) -> None:
        """One line of the file.

        Raises:
            KeyError, TypeError, AttributeError: it is of another format.
        """
        kind = line["kind"]
        if kind == "started":
            self._started(line)
            return
        if kind == "event":
            self.events.append(
                line
            )  # perhaps before the first start: of a writer that could not be opened
        start = self.now
        if start is None:
            return
        start.last = max(start.last, line["time"])
        start.last_step = max(start.last_step, line.get("step", 0))
        match kind:
            case "settings":
                self.settings = line["values"]
            case "scalars":
                self._scalars(line)
            case "anatomy":
                self.anatomy = line
                for each in line["tasks"]:
                    parts = {**each["parts"], "all": each["step_seconds"]}
                    for part, seconds in parts.items():
                        if seconds is not None:
                            name = f"{each['task']}/{part}"
                            self._add("train", "anatomy", name, line["step"], seconds)
            case "ended":
                start.status, start.message = line["status"], line["message"]

    def _started(self, line: dict[str, Any]) -> None:
        before = self.now
        if before is not None and before.status == "finished" and line["step"] == 0:
            self.starts.clear()
            self.series.clear()
            self.events.clear()
        self.values, self.anatomy = {}, None
        for series in self.series.values():
            series.cut_after(line["step"])
        self.starts.append(
            Start(
                began=line["time"],
                step=line["step"],
                tasks=tuple(line["tasks"]),
                host=line["host"],
                pid=line["pid"],
                epochs=line["epochs"],
                steps_per_epoch=line["steps_per_epoch"],
                num_replicas=line["num_replicas"],
                global_batch_size=line["global_batch_size"],
                last=line["time"],
                last_step=line["step"],
            )
        )

    def _scalars(self, line: dict[str, Any]) -> None:
        self.epoch = line["epoch"]
        if line["split"] == "train":
            self.values |= line["values"]
        for name, value in line["values"].items():
            self._add(line["split"], line["scope"], name, line["step"], value)

    def _add(self, split: str, scope: str, name: str, step: int, value: float) -> None:
        self.series.setdefault((split, scope, name), Series()).add(step, value)


class TaskFile:
    """Follows the file of one task. A line that is not whole yet is read when it is."""

    def __init__(self, path: Path):
        job, _, index = path.stem.rpartition("-")
        self.path = path
        self._name = f"{job} {index}"
        self._forget()

    def _forget(self) -> None:
        self.task = Task(self._name)
        self._offset = 0
        self._file: tuple[int, int] | None = None

    def refresh(self) -> None:
        """Read what was added; all of it, where it is another file by now.

        Raises:
            OSError: it cannot be read.
        """
        with self.path.open("rb") as file:
            status = os.fstat(file.fileno())
            if self._file not in (None, (status.st_dev, status.st_ino)) or (
                status.st_size < self._offset
            ):
                self._forget()
            self._file = (status.st_dev, status.st_ino)
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                content = json_lines.parse(line)
                if content is None:
                    continue
                try:
                    self.task.take(content)
                except (KeyError, TypeError, AttributeError):
                    continue  # of another version


def duration(seconds: float) -> str:
    """In the two largest units that it has."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s".removesuffix(" 0 s")
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min".removesuffix(" 0 min")
    return f"{whole // 86400} d {whole % 86400 // 3600} h".removesuffix(" 0 h")
