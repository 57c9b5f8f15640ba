"""ClusterSpec: which tasks a job has, and which of them this process is. Never imports TensorFlow.

TensorFlow's own reader of TF_CONFIG validates nothing: without `cluster` it trains on one worker
and says no word. Here every mistake is an error that says what to change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tfdml.errors import ClusterError

TASK_TYPES = ("chief", "worker", "ps", "evaluator")
_EXAMPLE = (
    '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


@dataclass(frozen=True)
class ClusterSpec:
    """The addresses of every task by type, and the type and index of this one.

    `jobs` maps a task type to its addresses ("host:port"), in order of index. It is empty for a
    process that trains by itself.
    """

    jobs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    task_type: str = "worker"
    task_index: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "jobs", {job: tuple(self.jobs[job]) for job in self.jobs})
        _check_task_type(self.task_type)
        for job, addresses in self.jobs.items():
            _check_job(job, addresses)
        _check_distinct(self.jobs)
        _check_task(self.jobs, self.task_type, self.task_index)

    @classmethod
    def local(cls) -> ClusterSpec:
        """A single process that belongs to no cluster."""
        return cls()

    @classmethod
    def from_tf_config(cls, text: str) -> ClusterSpec:
        """Read the JSON of a TF_CONFIG variable. Raises `ClusterError`."""
        try:
            config = json.loads(text)
        except json.JSONDecodeError as error:
            raise ClusterError(
                f"TF_CONFIG is not valid JSON ({error}): {_shortened(text)}. "
                f"It must look like {_EXAMPLE}."
            ) from None
        config = _mapping(config, "TF_CONFIG")
        jobs = _mapping(config.get("cluster"), "`cluster` in TF_CONFIG")
        if not jobs:
            raise ClusterError(f"`cluster` in TF_CONFIG is empty. It must look like {_EXAMPLE}.")
        for job, addresses in jobs.items():
            if not isinstance(addresses, list):
                raise ClusterError(
                    f'the addresses of {job!r} in TF_CONFIG must be a list of "host:port", '
                    f"got {addresses!r}."
                )
        task = _mapping(config.get("task"), "`task` in TF_CONFIG")
        for key in ("type", "index"):
            if key not in task:
                raise ClusterError(f"`task` in TF_CONFIG has no `{key}`, got {task!r}.")
        return cls(jobs, task["type"], task["index"])

    def to_tf_config(self) -> str:
        """The JSON for this task's TF_CONFIG variable."""
        if self.is_local:
            raise ClusterError("a local cluster has no TF_CONFIG: leave the variable unset.")
        jobs = {job: list(addresses) for job, addresses in self.jobs.items()}
        task = {"type": self.task_type, "index": self.task_index}
        return json.dumps({"cluster": jobs, "task": task})

    def with_task(self, task_type: str, task_index: int) -> ClusterSpec:
        """The same cluster, seen from another of its tasks."""
        return replace(self, task_type=task_type, task_index=task_index)

    def tasks(self) -> Iterator[ClusterSpec]:
        """The cluster as each of its tasks sees it, chief and workers first."""
        for job in TASK_TYPES:
            for index in range(len(self.jobs.get(job, ()))):
                yield self.with_task(job, index)

    @property
    def is_local(self) -> bool:
        return not self.jobs

    @property
    def is_chief(self) -> bool:
        """Whether this task writes what is written once: the chief, or else worker 0."""
        return self.is_local or self == self.leader

    @property
    def num_workers(self) -> int:
        """How many tasks train: the workers and, where there is one, the chief."""
        if self.is_local:
            return 1
        return len(self.jobs.get("chief", ())) + len(self.jobs.get("worker", ()))

    @property
    def leader(self) -> ClusterSpec:
        """The same cluster as its leading task sees it: the chief, or worker 0 without one."""
        return self.with_task("chief" if "chief" in self.jobs else "worker", 0)

    @property
    def task_name(self) -> str:
        """For example "worker 1"."""
        return f"{self.task_type} {self.task_index}"

    @property
    def address(self) -> str:
        """This task's own "host:port", or "" where the cluster does not list it."""
        addresses = self.jobs.get(self.task_type, ())
        return addresses[self.task_index] if self.task_index < len(addresses) else ""


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if value is None:
        raise ClusterError(f"{what} is missing. TF_CONFIG must look like {_EXAMPLE}.")
    if not isinstance(value, dict):
        raise ClusterError(f"{what} must be a JSON object, got {_shortened(json.dumps(value))}.")
    return value


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _check_task_type(task_type: Any) -> None:
    if task_type == "master":
        raise ClusterError("task type 'master' belongs to TensorFlow 1: rename it to 'chief'.")
    if task_type not in TASK_TYPES:
        raise ClusterError(
            f"unknown task type {task_type!r}; the task types are {', '.join(TASK_TYPES)}."
        )


def _check_job(job: str, addresses: tuple[str, ...]) -> None:
    _check_task_type(job)
    if not addresses:
        raise ClusterError(f'{job!r} has no addresses: list at least one "host:port", or drop it.')
    if job == "chief" and len(addresses) > 1:
        raise ClusterError(
            f"a cluster has one chief, got {len(addresses)}: {', '.join(map(str, addresses))}. "
            "List the others under 'worker'."
        )
    for index, address in enumerate(addresses):
        _check_address(f"{job} {index}", address)


def _check_address(name: str, address: Any) -> None:
    if not isinstance(address, str):
        raise ClusterError(f'the address of {name} must be a string "host:port", got {address!r}.')
    host, colon, port = address.rpartition(":")
    # An IPv6 address holds colons of its own, so that only brackets tell where its port begins.
    bare_ipv6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not colon or not host or not port or bare_ipv6 or any(c.isspace() for c in host):
        raise ClusterError(
            f'the address of {name} must be "host:port", got {address!r}'
            + (" (write an IPv6 address in brackets)." if bare_ipv6 else ".")
        )
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ClusterError(
            f"the port of {name} must be an integer from 1 to 65535, got {port!r} in {address!r}."
        )


def _check_distinct(jobs: Mapping[str, tuple[str, ...]]) -> None:
    seen: dict[str, str] = {}
    for job, addresses in jobs.items():
        for index, address in enumerate(addresses):
            name = f"{job} {index}"
            other = seen.setdefault(address, name)
            if other == name:
                continue
            if {other, name} == {"chief 0", "worker 0"}:
                raise ClusterError(
                    f"chief and worker 0 are both {address!r}: the chief trains too, so list it "
                    "once, under 'chief', and only the other workers under 'worker'."
                )
            raise ClusterError(
                f"{other} and {name} have the same address {address!r}: "
                "each task needs one of its own."
            )


def _check_task(jobs: Mapping[str, tuple[str, ...]], task_type: str, task_index: Any) -> None:
    if isinstance(task_index, bool) or not isinstance(task_index, int):
        raise ClusterError(f"the task index must be an integer, got {task_index!r}.")
    if not jobs:
        if (task_type, task_index) != ("worker", 0):
            raise ClusterError(
                f"a process without a cluster is worker 0, got {task_type} {task_index}: "
                "list the cluster's addresses, or drop the task."
            )
        return
    if "chief" not in jobs and "worker" not in jobs:
        raise ClusterError(
            f"the cluster has nobody to train, only {', '.join(jobs)}: list the workers' addresses."
        )
    if task_type not in jobs:
        if task_type == "evaluator" and task_index == 0:
            return  # It reads checkpoints and talks to nobody, so the cluster need not list it.
        raise ClusterError(
            f"this task is {task_type} {task_index}, but the cluster has only {', '.join(jobs)}."
        )
    if not 0 <= task_index < len(jobs[task_type]):
        raise ClusterError(
            f"this task is {task_type} {task_index}, but the cluster has {len(jobs[task_type])} "
            f"{task_type} task(s): the index must be from 0 to {len(jobs[task_type]) - 1}."
        )
