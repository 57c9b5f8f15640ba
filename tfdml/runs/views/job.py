"""A job as its MODEL_DIR shows it: all tasks, and the run's manifest."""

from __future__ import annotations

from pathlib import Path

from tfdml.errors import DataError
from tfdml.monitoring import json_lines
from tfdml.monitoring.records import PARTS
from tfdml.runs import record
from tfdml.runs.record import RunRecord
from tfdml.runs.views.series import Series
from tfdml.runs.views.task import Task, TaskFile


class Job:
    """What there is to see of the run in `model_dir`; `refresh` reads what is new.

    Attributes:
        record: run.json; None where the program is no recipe.
        tasks: of the newest start, the chief first.

    Raises:
        DataError: nothing was monitored there.
    """

    def __init__(self, model_dir: Path):
        self.model_dir = model_dir
        self.record: RunRecord | None = None
        self.tasks: list[Task] = []
        self._files: dict[Path, TaskFile] = {}
        self._record_time = 0
        if not model_dir.is_dir():
            raise DataError(f"{model_dir}: no such directory. Give the --model_dir of a run.")
        self.refresh()
        if not any(task.starts for task in self.tasks):
            raise DataError(
                f"{model_dir}: no run to be seen there. Give the --model_dir of a training that has begun and has "
                "tfdml.callbacks.Monitoring, as recipes do (it writes MODEL_DIR/monitoring)."
            )

    def refresh(self) -> None:
        """Read what was written since; a file that cannot be read now is read the next time."""
        for path in sorted((self.model_dir / json_lines.DIRECTORY).glob("*-*.jsonl")):
            self._files.setdefault(path, TaskFile(path))
        for path, file in list(self._files.items()):
            try:
                file.refresh()
            except OSError:
                if not path.exists():
                    del self._files[path]
        self._order()
        self._read_record()

    def _order(self) -> None:
        known = {file.task.name: file.task for file in self._files.values()}
        starts = [task.now for task in known.values() if task.now is not None]
        newest = max(starts, key=lambda start: start.began, default=None)
        names = newest.tasks if newest is not None else tuple(known)
        self.tasks = [known.get(name) or Task(name) for name in names]

    def _read_record(self) -> None:
        try:
            changed = (self.model_dir / record.FILE_NAME).stat().st_mtime_ns
            if changed != self._record_time:
                self.record = RunRecord.read(self.model_dir)
                self._record_time = changed
        except (OSError, DataError):
            return

    @property
    def chief(self) -> Task:
        """Who knows of the whole job."""
        return self.tasks[0]

    def series(self, split: str, scope: str, name: str) -> Series:
        """Of the chief; empty where it has none."""
        return self.chief.series.get((split, scope, name)) or Series()

    @property
    def num_workers(self) -> int:
        return len(self.tasks)

    @property
    def restarts(self) -> int:
        return self.chief.restarts

    @property
    def step(self) -> int:
        return max((task.now.last_step for task in self.tasks if task.now), default=0)

    @property
    def total_steps(self) -> int | None:
        """None where only reading the data tells."""
        start = self.chief.now
        if start is None or start.steps_per_epoch is None:
            return None
        return start.epochs * start.steps_per_epoch

    def status(self, time: float) -> str:
        """Of the chief; where it is gone, what run.json says of how the program ended."""
        state = self.chief.state(time)
        if state in ("lost", "failed", "stopped") or self.record is None:
            return state
        # After training a recipe evaluates, and may fail then.
        return self.record.shown_status if state == "finished" else state

    @property
    def global_batch_size(self) -> int | None:
        """Of all steps, or of all but the last of an epoch; None where nothing says."""
        start = self.chief.now
        told = self.chief.settings.get("train.global_batch_size")
        known = start.global_batch_size if start is not None else None
        return known or (told if isinstance(told, int) else None)

    @property
    def is_measured(self) -> bool:
        """Whether there is an anatomy of the newest start."""
        return self.chief.anatomy is not None

    def anatomy_of(self, task: str, recent: int = 0) -> dict[str, float | None]:
        """Part -> seconds a step: the mean of the `recent` newest measured executions, 0: of all; empty if none."""
        found: dict[str, float | None] = {}
        for part in PARTS:
            values = self.series("train", "anatomy", f"{task}/{part}").values[-recent:]
            found[part] = sum(values) / len(values) if values else None
        return found if any(each is not None for each in found.values()) else {}

    def stragglers(self) -> dict[str, str]:
        """Task -> likely cause, of those that are stragglers now."""
        found: dict[str, str] = {}
        start = self.chief.now
        for event in self.chief.events:
            if start is not None and event["time"] < start.began:
                continue
            if event["event"] == "straggler":
                found[event["task"]] = event["cause"]
            elif event["event"] == "straggler_gone":
                found.pop(event["task"], None)
        return found
