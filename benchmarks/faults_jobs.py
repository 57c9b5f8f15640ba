"""Runs the job of faults.py through `tfdml launch`, and gathers what it printed, what it trained and what it left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import psutil

PROGRAM = Path(__file__).with_name("faults_program.py")
LIMIT_SECONDS = 240.0  # for one launch, of some ten seconds when all goes well
LEFT_SECONDS = 10.0  # for processes to be gone after a launcher
# With the end of the prefix of a task: the launcher repeats the last lines of one that has failed.
CAME = "] tfdml: now comes the fault that was asked for: "
_MARK = "TFDML_BENCHMARK_FAULTS"
_SHARED_MEMORY = Path("/dev/shm")


class Line(NamedTuple):
    """One that the launcher printed; `time` as `time.time` counts."""

    time: float
    text: str


@dataclass(frozen=True)
class Launch:
    """One launcher, from its start to its end.

    Attributes:
        status: its exit status; None where it did not end in time.
        left: processes, temporary files and shared memory that were there after it.
    """

    status: int | None
    lines: list[Line]
    seconds: float
    left: list[str]

    def find(self, text: str) -> list[Line]:
        return [line for line in self.lines if text in line.text]


@dataclass
class Job:
    """A job in a directory of its own, which several launchers may run one after the other.

    Attributes:
        data: what `faults_program.write_digits` wrote.
        epochs, dropout_seed: of the program.
    """

    directory: Path
    data: Path
    epochs: int
    dropout_seed: int = 1
    launches: list[Launch] = field(default_factory=list)

    def launch(
        self,
        *,
        faults: str = "",
        workers: int = 3,
        flags: Sequence[str] = ("--max_restarts=3",),
        disturb: Callable[[Running], None] = lambda running: None,
    ) -> Launch:
        """Run a launcher to its end.

        Args:
            faults: as TFDML_FAULTS has them.
            disturb: is called while it runs, and may kill it or one of its tasks.
        """
        number = len(self.launches)
        temporary = self.directory / f"tmp-{number}"
        temporary.mkdir(parents=True)
        command = [
            *(sys.executable, "-m", "tfdml", "launch"),
            *(f"--workers={workers}", "--start_method=fork", "--restart_backoff_seconds=0.1"),
            *(f"--log_dir={self.directory / 'logs'}", *flags, str(PROGRAM)),
            *(f"--directory={self.directory}", f"--data={self.data}", f"--launch={number}"),
            *(f"--epochs={self.epochs}", f"--dropout_seed={self.dropout_seed}"),
        ]
        mark = uuid.uuid4().hex
        variables = {
            "TFDML_FAULTS": faults,
            "TMPDIR": str(temporary),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "CUDA_VISIBLE_DEVICES": "-1",
            "TFDML_CLUSTER": "local",
            _MARK: mark,
        }
        shared_before = set(_shared_memory())
        begin = time.monotonic()
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=os.environ | variables,
        )
        running = Running(self, number, process, mark)
        try:
            disturb(running)
            status = process.wait(max(1.0, begin + LIMIT_SECONDS - time.monotonic()))
        except (subprocess.TimeoutExpired, TimeoutError):
            status = None
        finally:
            if process.poll() is None:
                process.kill()
            left = running.left(shared_before)
            running.kill_all()
            running.reader.join()
        launch = Launch(status, running.lines, time.monotonic() - begin, left)
        shutil.rmtree(temporary)
        self.launches.append(launch)
        return launch

    def trained(self) -> Trained:
        return Trained(self.directory)


class Running:
    """A launcher that runs."""

    def __init__(self, job: Job, number: int, process: subprocess.Popen[bytes], mark: str) -> None:
        self.lines: list[Line] = []
        self.process = process
        self._job = job
        self._number = number
        self._mark = mark
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def wait_for_step(self, step: int) -> None:
        """Until the chief has trained that many steps in all; 0: until its program runs."""
        path = self._job.directory / f"steps-{self._number}-0-0.jsonl"
        self._wait(lambda: path.exists() and any(n + 1 >= step for n in _steps_in(path)))

    def wait_for_line(self, text: str) -> None:
        self._wait(lambda: any(text in line.text for line in self.lines))

    def pid_of(self, task: int) -> int:
        """Of a task in the first start."""
        path = self._job.directory / f"steps-{self._number}-0-{task}.jsonl"
        return int(json.loads(path.read_text().splitlines()[0])["pid"])

    def left(self, shared_before: set[str]) -> list[str]:
        """What is there after the end, when processes have had the time to be gone."""
        deadline = time.monotonic() + LEFT_SECONDS
        while (left := self._left(shared_before)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    def kill_all(self) -> None:
        for process in self._processes():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def _left(self, shared_before: set[str]) -> list[str]:
        temporary = self._job.directory / f"tmp-{self._number}"
        processes = [f"process {process.pid}" for process in self._processes()]
        files = [f"file {path}" for path in temporary.iterdir()]
        shared = [
            f"shared memory {name}" for name in _unused(set(_shared_memory()) - shared_before)
        ]
        return [*processes, *files, *shared]

    def _processes(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                is_alive = process.status() != psutil.STATUS_ZOMBIE
                if is_alive and process.environ().get(_MARK) == self._mark:
                    yield process

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LIMIT_SECONDS
        while not condition():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise TimeoutError
            time.sleep(0.005)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                text = line.decode(errors="replace").rstrip("\n")
                self.lines.append(Line(time.time(), text))


class Trained:
    """What the tasks of a job have noted, by launch, start and task."""

    def __init__(self, directory: Path) -> None:
        self._logs: dict[tuple[int, int, int], list[dict[str, Any]]] = {}
        for path in directory.glob("steps-*.jsonl"):
            launch, start, task = map(int, path.stem.split("-")[1:])
            self._logs[launch, start, task] = _records(path)

    @cached_property
    def starts(self) -> list[tuple[int, int]]:
        return sorted({(launch, start) for launch, start, _ in self._logs})

    def steps(self, launch: int, start: int, task: int = 0) -> list[dict[str, Any]]:
        return [r for r in self._logs.get((launch, start, task), []) if "step" in r]

    def steps_of_all_starts(self, task: int = 0) -> list[int]:
        return [r["step"] for start in self.starts for r in self.steps(*start, task)]

    @property
    def hashes(self) -> set[str]:
        """Of the model, as each task of the last start has it; "" for a task that has none."""
        if not self.starts:
            return {""}
        last = self.starts[-1]
        logs = [log for (*start, _), log in self._logs.items() if tuple(start) == last]
        return {next((r["hash"] for r in log if "hash" in r), "") for log in logs}

    @property
    def end(self) -> dict[str, Any]:
        """The chief's last words: hash, loss, skipped steps."""
        return self._logs[(*self.starts[-1], 0)][-1]

    @property
    def ids(self) -> dict[int, list[list[int]]]:
        """Step -> every list of the ids of its global batch that some start trained, without repetitions."""
        found: dict[int, list[list[int]]] = {}
        for launch, start in self.starts:
            tasks = sorted(t for a, b, t in self._logs if (a, b) == (launch, start))
            slices = [{r["step"]: r["ids"] for r in self.steps(launch, start, t)} for t in tasks]
            for step in set.intersection(*map(set, slices)):
                batch = [number for part in slices for number in part[step]]
                if batch not in found.setdefault(step, []):
                    found[step].append(batch)
        return found

    def entered(self, launch: int, start: int, task: int = 0) -> float:
        return float(self._logs[launch, start, task][0]["entered"])


def kill_launcher(running: Running) -> None:
    running.process.send_signal(signal.SIGKILL)


def _records(path: Path) -> list[dict[str, Any]]:
    """Of a file whose writer may have been killed within a line."""
    whole = path.read_text().rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def _steps_in(path: Path) -> list[int]:
    records = _records(path)
    return [r["step"] for r in records if "step" in r] or ([-1] if records else [])


def _shared_memory() -> list[str]:
    return os.listdir(_SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else []


def _unused(names: set[str]) -> set[str]:
    """Those that no process has mapped: others on this machine come and go, too."""
    if not names:
        return set()
    maps = ""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            maps += Path("/proc", pid, "maps").read_text()
    return {name for name in names if f"{_SHARED_MEMORY}/{name}" not in maps}
