"""Do all tasks run the same thing? Asked once, before the first variable is made.

Every task sends a row of text about itself, and all rows reach every task in one small all-reduce of
TensorFlow, so that all come to the same answer and fail with the same sentence. Otherwise replicas that run
different code wait for each other without a word, or drift apart without one.
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfdml import run_identity
from tfdml.cluster.resolver import host_of, shortened
from tfdml.cluster.spec import ClusterSpec
from tfdml.errors import ClusterError
from tfdml.version import __version__

_log = logging.getLogger("tfdml")

CLOCK_SECONDS = 30.0
_FIELD = 24  # Bytes of each fact: versions and digests are shorter.
_INSTALL = "Install the same versions on all hosts, as one image or one shared environment does."
_REMEDIES = {
    "Python": _INSTALL,
    "TensorFlow": _INSTALL,
    "Keras": _INSTALL,
    "tfdml": _INSTALL,
    "native library": (
        "Install the same tfdml, TensorFlow and compiler on all hosts, or set TFDML_NATIVE=off on all."
    ),
    "script": "Copy the same file to every host, or keep it on storage that all of them see.",
    "configuration": "Give every task the same --config files and --set.",
}


def check_hosts(strategy: tf.distribute.Strategy, cluster: ClusterSpec) -> None:
    """Compare versions, script, configuration and clock of all tasks, where they are on several hosts.

    Every task calls it. Raises `ClusterError`, the same on all; clocks apart are a warning.
    """
    tasks = _training(cluster)
    if cluster not in tasks or len({host_of(task.address) for task in tasks}) < 2:
        return
    check_same(strategy, cluster, own_facts())
    # All tasks have just come out of one collective, so that their clocks are read at one moment.
    warning = clock_warning(tasks, _gather(strategy, cluster, [f"{time.time():.3f}"]))
    if warning and cluster.is_chief:
        _log.warning("%s", warning)


def own_facts() -> dict[str, str]:
    """What must be the same on all tasks."""
    major, minor, _ = platform.python_version_tuple()
    return {
        "Python": f"{major}.{minor}",
        "TensorFlow": tf.__version__,
        "Keras": keras.__version__,
        "tfdml": __version__,
        "script": run_identity.script_digest(),
        "configuration": run_identity.config_digest(),
    }


def check_same(
    strategy: tf.distribute.Strategy, cluster: ClusterSpec, facts: Mapping[str, str]
) -> None:
    """Raise `ClusterError` where a task of `cluster` has other facts; every task calls it with the same names."""
    rows = _gather(strategy, cluster, list(facts.values()))
    told = difference(_training(cluster), list(facts), rows)
    if told:
        raise ClusterError(told)


def difference(
    tasks: Sequence[ClusterSpec], names: Sequence[str], rows: Sequence[Sequence[str]]
) -> str | None:
    """A sentence on the first fact in which `tasks` differ, each with a row of facts; None where in none."""
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        holders: dict[str, list[str]] = {}
        for task, value in zip(tasks, values, strict=True):
            holders.setdefault(value, []).append(f"{task.task_name} ({task.address})")
        if len(holders) > 1:
            found = "; ".join(
                f"{value or 'none'} on {shortened(', '.join(who))}"
                for value, who in holders.items()
            )
            path = run_identity.script() if name == "script" else None
            what = f"{name} {path.name}" if path else name
            return f"tasks differ in {what}: {found}. {_REMEDIES[name]}"
    return None


def clock_warning(tasks: Sequence[ClusterSpec], rows: Sequence[Sequence[str]]) -> str | None:
    """A sentence on the clock that is furthest from the first task's, where that is too far."""
    times = [float(text) for (text,) in rows]
    apart, task = max(
        ((value - times[0], task) for value, task in zip(times, tasks, strict=True)),
        key=lambda pair: abs(pair[0]),
    )
    if abs(apart) <= CLOCK_SECONDS:
        return None
    return (
        f"the clock of {task.task_name} ({task.address}) is {abs(apart):.0f} s "
        f"{'ahead of' if apart > 0 else 'behind'} that of {tasks[0].task_name} ({tasks[0].address}): times of logs "
        "and files will mislead; let NTP set the clocks."
    )


def _training(cluster: ClusterSpec) -> list[ClusterSpec]:
    """The tasks of the strategy, in the order of their replicas."""
    return [task for task in cluster.tasks() if task.task_type in ("chief", "worker")]


def _gather(
    strategy: tf.distribute.Strategy, cluster: ClusterSpec, fields: Sequence[str]
) -> list[list[str]]:
    """The fields of every task, in the order of tasks, in one all-reduce: each adds its row to zeros."""
    tasks = _training(cluster)
    own = next(position for position, task in enumerate(tasks) if task == cluster)
    rows = np.zeros([len(tasks), len(fields) * _FIELD], np.float32)
    for position, field in enumerate(fields):
        letters = field.encode()[:_FIELD]
        start = position * _FIELD
        rows[own, start : start + len(letters)] = list(letters)
    local = strategy.num_replicas_in_sync // len(tasks)

    def row_of(context: tf.distribute.ReplicaContext) -> tf.Tensor:
        # The first replica of a task speaks for it. Bytes as float32, which every device can add up.
        first = context.replica_id_in_sync_group % local == 0
        return tf.constant(rows if first else np.zeros_like(rows))

    per_replica = strategy.experimental_distribute_values_from_function(row_of)
    total = strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None).numpy()
    return [
        [
            bytes(row[start : start + _FIELD].astype(np.uint8))
            .rstrip(b"\0")
            .decode(errors="replace")
            for start in range(0, len(row), _FIELD)
        ]
        for row in total
    ]
