"""Which tasks run on this host, and what each of them is given. Starts nothing."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from tfdml.cluster.hosts import Host, addresses_of
from tfdml.cluster.ports import free_ports
from tfdml.cluster.resolver import MAX_PORT
from tfdml.cluster.spec import ClusterSpec
from tfdml.errors import ClusterError
from tfdml.launch import gpus


@dataclass(frozen=True)
class Task:
    """One process to start: `script` with `arguments`.

    `variables` is what the task's environment has beyond, or other than, the launcher's.
    """

    cluster: ClusterSpec
    script: str
    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.cluster.task_name

    @property
    def command(self) -> list[str]:
        return [sys.executable, self.script, *self.arguments]

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        return {**environ, **self.variables}

    def with_variables(self, variables: Mapping[str, str]) -> Task:
        return replace(self, variables={**self.variables, **variables})

    def shell_line(self) -> str:
        """The command with its variables, to paste into a shell."""
        assignments = [f"{name}={shlex.quote(text)}" for name, text in self.variables.items()]
        return " ".join([*assignments, shlex.join(self.command)])


@dataclass(frozen=True)
class Remote:
    """Another host, on which `command` starts a launcher of its own, and what to send to its standard input."""

    name: str
    command: tuple[str, ...]
    first_line: str

    def with_variables(self, variables: Mapping[str, str]) -> Remote:
        """For the launcher there, whose tasks inherit them."""
        known = json.loads(self.first_line)
        return replace(self, first_line=json.dumps({**known, **variables}))

    def shell_line(self) -> str:
        return shlex.join(self.command)


def on_this_host(workers: int, *, num_left_out: int = 0) -> list[ClusterSpec]:
    """`workers` tasks that talk over the loopback interface; a single one needs no cluster.

    Of a job of several, `num_left_out` fewer: the last of them is a cluster still, as its script expects.
    """
    if workers < 1:
        raise ClusterError(f"--workers must be at least 1, got {workers}.")
    if workers == 1:
        return [ClusterSpec.local()]
    workers -= num_left_out
    addresses = tuple(f"127.0.0.1:{port}" for port in free_ports(workers))
    return list(ClusterSpec({"worker": addresses}).tasks())


def with_servers(workers: int, ps: int, *, evaluator: bool = False) -> list[ClusterSpec]:
    """A chief, `workers` that train for it and `ps` that hold the variables, over the loopback interface.

    An evaluator talks to nobody, so the cluster does not list it.
    """
    if workers < 1:
        raise ClusterError(f"--workers must be at least 1, got {workers}.")
    counts = {"chief": 1, "worker": workers, "ps": ps}
    addresses = iter([f"127.0.0.1:{port}" for port in free_ports(sum(counts.values()))])
    jobs = {job: tuple(islice(addresses, count)) for job, count in counts.items()}
    cluster = ClusterSpec(jobs, "chief", 0)
    return [*cluster.tasks(), *([cluster.with_task("evaluator", 0)] if evaluator else [])]


def on_many_hosts(hosts: Sequence[Host], node_index: int, base_port: int) -> list[ClusterSpec]:
    """This host's tasks of a job over `hosts`. Worker i of a host listens on `base_port` + i.

    Every host works out the same cluster from the same arguments: nothing is exchanged for it.
    """
    if not 0 <= node_index < len(hosts):
        raise ClusterError(
            f"--node_index must be from 0 to {len(hosts) - 1}, the position of this host in "
            f"--hosts, got {node_index}."
        )
    last_port = base_port + max(host.slots for host in hosts) - 1
    if base_port < 1 or last_port > MAX_PORT:
        raise ClusterError(
            f"--base_port={base_port} gives ports up to {last_port}: they must be from 1 to "
            f"{MAX_PORT}."
        )
    tasks = list(ClusterSpec({"worker": tuple(addresses_of(hosts, base_port))}).tasks())
    first = sum(host.slots for host in hosts[:node_index])
    return tasks[first : first + hosts[node_index].slots]


def plan_tasks(
    clusters: Sequence[ClusterSpec],
    script: str,
    arguments: Sequence[str],
    *,
    gpus_per_worker: int | None = None,
    platform_gpus: Sequence[str] | None = None,
    left_out: Collection[int] = (),
    environ: Mapping[str, str] | None = None,
) -> list[Task]:
    """One task for each of `clusters`, this host's tasks. Raises `ClusterError`.

    `platform_gpus` are those that a batch system means for this host's part of the job, where it says so.
    `left_out` are the workers, as a whole job numbers them, that `clusters` do without: their GPUs rest. Where there
    are parameter servers, GPUs are for the workers.
    """
    environ = os.environ if environ is None else environ
    if environ.get("TF_CONFIG", "").strip():
        raise ClusterError(
            "TF_CONFIG is already set, but with --workers or --hosts the launcher gives every task its own: "
            "unset it, or leave these flags out to start the task that it describes."
        )
    visible = gpus.visible_gpus(environ)
    if platform_gpus is not None and gpus.VARIABLE not in environ:
        visible = list(platform_gpus)
        gpus_per_worker = (
            len(visible) if gpus_per_worker is None and len(clusters) == 1 else gpus_per_worker
        )
    computing = [each for each in clusters if not each.jobs.get("ps") or each.task_type == "worker"]
    shares = gpus.divide(visible, len(computing) + len(left_out), gpus_per_worker)
    if shares is None and visible and len(computing) < len(clusters):
        shares = [visible]
    if shares is not None:
        shares = [share for index, share in enumerate(shares) if index not in left_out]
    tasks = []
    for cluster in clusters:
        variables = variables_of(cluster, environ)
        if shares is not None:
            share = shares[computing.index(cluster)] if cluster in computing else []
            variables[gpus.VARIABLE] = ",".join(share) or "-1"
        tasks.append(Task(cluster, script, tuple(arguments), variables))
    return tasks


def variables_of(cluster: ClusterSpec, environ: Mapping[str, str]) -> dict[str, str]:
    """What `cluster`'s task is given whoever laid the cluster out."""
    # Without PYTHONUNBUFFERED python keeps the output of a pipe back until it has 8 KB of it.
    variables = {"KERAS_BACKEND": "tensorflow", "PYTHONUNBUFFERED": "1"}
    if "TF_CPP_MIN_LOG_LEVEL" not in environ:
        # A dozen remarks a task; warnings stay, but of servers, which warn of every call that they clean up after.
        variables["TF_CPP_MIN_LOG_LEVEL"] = "2" if "ps" in cluster.jobs else "1"
    # TensorFlow itself leaves oneDNN off on CPUs without AVX-512 VNNI, where a dense network trains 1.1 to 1.4
    # times as fast with it (benchmarks/README.md, scaling.py). It reads the variable when it is imported.
    if "TF_ENABLE_ONEDNN_OPTS" not in environ:
        variables["TF_ENABLE_ONEDNN_OPTS"] = "1"
    if cluster.is_local:
        # Under Slurm, say, it would otherwise look for the tasks of the allocation.
        variables["TFDML_CLUSTER"] = "local"
    else:
        variables["TF_CONFIG"] = cluster.to_tf_config()
        variables["TFDML_LAUNCHED"] = "1"  # The launcher looks after the other tasks' addresses.
    return variables


def common_environment(tasks: Sequence[Task], environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that are the same for all of `tasks`."""
    first, *others = [task.environment(environ) for task in tasks]
    return {
        name: text
        for name, text in first.items()
        if all(other.get(name) == text for other in others)
    }


def describe(task: Task | Remote) -> str:
    """The lines of a dry run for one task, or for one host."""
    if isinstance(task, Remote):
        return f"# host {task.name}\n{task.shell_line()}"
    tf_config = task.variables.get("TF_CONFIG")
    shown = json.loads(tf_config) if tf_config else None
    about = f"TF_CONFIG: {json.dumps(shown)}" if shown else "no TF_CONFIG: a single process"
    return f"# {task.name}; {about}\n{task.shell_line()}"
