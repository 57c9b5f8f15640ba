"""One job, as every generator of this package reads it: what runs, on how many tasks, for how long."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tfdml.errors import ConfigError

MAX_PORT = 65535
# 63 in a DNS label, less what platforms append: "-evaluator-0-0" and a suffix of "-abcde", or the
# hash of a StatefulSet's revision.
_MAX_NAME = 40
_MAX_TASKS = 10_000
_LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_IMAGE = re.compile(r"[A-Za-z0-9]([\w.:/@+-]*\w)?", re.ASCII)


@dataclass(frozen=True)
class Job:
    """What is to run, in the words of no platform. Raises `ConfigError` at construction.

    `command` may hold anything that an argument of a process can hold, spaces, quotes, $ and newlines:
    a generator quotes it for the file that it writes. Everything else is plain.
    """

    command: tuple[str, ...]  # The script and its arguments, as after `tfdml launch`.
    name: str = "tfdml"  # A DNS label.
    workers: int = 2
    chief: bool = False  # A chief beside the workers. Parameter servers always come with one.
    ps: int = 0
    evaluator: bool = False
    gpus_per_worker: int = 0
    cpus_per_worker: int = 4
    memory_gib_per_worker: int = 16
    image: str = "tfdml:latest"
    namespace: str = "default"
    volume: str = (
        "tfdml-shared"  # What all tasks share: a claim or a volume by name, or a directory.
    )
    mount_path: str = "/shared"  # Where tasks in containers see it.
    time_limit_minutes: int = 24 * 60
    save_seconds: int = (
        120  # SIGTERM comes this long before the time limit: tasks save and exit 42.
    )
    max_restarts: int = 10
    port: int | None = None  # Of a host's first task; None: the platform's own default.

    def __post_init__(self) -> None:
        self._check_command()
        self._check_whole("workers", 1, _MAX_TASKS)
        self._check_whole("ps", 0, _MAX_TASKS)
        self._check_whole("gpus_per_worker", 0, 1024)
        self._check_whole("cpus_per_worker", 1, 4096)
        self._check_whole("memory_gib_per_worker", 1, 65536)
        self._check_whole("time_limit_minutes", 1, 366 * 24 * 60)
        self._check_whole("save_seconds", 0, self.time_limit_minutes * 60 - 1)
        self._check_whole("max_restarts", 0, 10_000)
        if self.port is not None:
            self._check_whole("port", 1, MAX_PORT)
        _check_label("name", self.name, _MAX_NAME)
        _check_label("namespace", self.namespace, 63)
        if not _IMAGE.fullmatch(self.image):
            raise ConfigError(
                f"`image` must be a container image like registry.example/team/tfdml:1, got {self.image!r}."
            )
        if not self.volume.strip() or not self.volume.isprintable():
            raise ConfigError(
                "`volume` must be the name of a volume or a directory that all tasks share, "
                f"got {self.volume!r}."
            )
        if (
            not re.fullmatch(r"/[^:]*[^:/][^:]*", self.mount_path)
            or not self.mount_path.isprintable()
            or ".." in self.mount_path.split("/")
        ):
            raise ConfigError(
                "`mount_path` must be a directory from the root, without a colon, like /shared, "
                f"got {self.mount_path!r}."
            )

    @property
    def script(self) -> str:
        return self.command[0]

    @property
    def launch_command(self) -> tuple[str, ...]:
        """What every task runs. It finds the cluster by itself and gives tasks `save_seconds` after SIGTERM."""
        return ("tfdml", "launch", f"--grace_period_seconds={self.save_seconds}", *self.command)

    @property
    def stop_seconds(self) -> int:
        """How long a platform must wait between SIGTERM and SIGKILL: the launcher ends after its tasks."""
        return self.save_seconds + 10

    @property
    def has_chief(self) -> bool:
        """Whether a chief is a task of its own; without one worker 0 is the chief."""
        return self.chief or self.ps > 0

    @property
    def task_counts(self) -> dict[str, int]:
        """How many tasks of each type there are, only types that are there: chief, worker, ps, evaluator."""
        counts = {
            "chief": int(self.has_chief),
            "worker": self.workers,
            "ps": self.ps,
            "evaluator": int(self.evaluator),
        }
        return {task_type: count for task_type, count in counts.items() if count}

    @property
    def num_tasks(self) -> int:
        return sum(self.task_counts.values())

    def serves(self, task_type: str) -> bool:
        """Whether tasks of this type run what the chief places on them, and know no end of their own."""
        return self.ps > 0 and task_type in ("worker", "ps")

    def gpus_of(self, task_type: str) -> int:
        """GPUs of a task of this type: a parameter server and the chief that coordinates need none."""
        computes = task_type in ("worker", "evaluator") or (task_type == "chief" and not self.ps)
        return self.gpus_per_worker if computes else 0

    @property
    def running_seconds(self) -> int:
        """How long tasks run before SIGTERM: the time limit less the time to save."""
        return self.time_limit_minutes * 60 - self.save_seconds

    def _check_command(self) -> None:
        if isinstance(self.command, str) or not self.command or not self.command[0].strip():
            raise ConfigError(
                "`command` must be a script and its arguments, as after `tfdml launch`, "
                f"got {self.command!r}."
            )
        for argument in self.command:
            # Half a surrogate pair stands for a byte that is not UTF-8, which no text file can hold.
            if "\0" in argument or any("\ud800" <= letter <= "\udfff" for letter in argument):
                raise ConfigError(
                    f"`command` must hold UTF-8 text without NUL, got {argument!r}: rename the file "
                    "or change the argument."
                )
        if self.command[0].startswith("-"):
            raise ConfigError(
                f"`command` must begin with the script, got {self.command[0]!r}: flags of the job come "
                "before it, its own arguments after it."
            )

    def _check_whole(self, name: str, lowest: int, highest: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise ConfigError(
                f"`{name}` must be a whole number from {lowest} to {highest}, got {value!r}."
            )


def _check_label(field: str, text: str, longest: int) -> None:
    if len(text) > longest or not _LABEL.fullmatch(text):
        raise ConfigError(
            f"`{field}` must be at most {longest} lower-case letters, digits and dashes, a letter first and no "
            f"dash last, like digits-1, got {text!r}."
        )
