"""All-reduce, all-gather and all-to-all of tensors with static shapes, one collective each, in groups of replicas.

The public `ReplicaContext.all_gather` sends the sizes first (a second collective) and merges all replicas'
graphs; there is no public all-to-all, and there are no groups. TensorFlow's launchers know keys and order; this is
the one module that touches them.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.python.distribute import cross_device_utils

_SUM = tf.distribute.ReduceOp.SUM

# Group keys that TensorFlow counts up from 1 do not come so far.
_WITHIN_TASK_KEY = 1_000_000
_ACROSS_TASKS_KEY = 2_000_000

_launchers: weakref.WeakKeyDictionary[Any, dict[tuple[str, int], Any]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Group:
    """Replicas that exchange tensors; the same calls in the same order on each of them.

    Attributes:
        size: how many there are.
        rank: int32 scalar, the number of this replica among them.
    """

    size: int
    rank: tf.Tensor
    _launcher: Any

    def all_reduce(self, value: tf.Tensor) -> tf.Tensor:
        """The sum over the group, in the shape of `value`."""
        return self._launcher.all_reduce(value, None, self._launcher._options)

    def all_gather(self, value: tf.Tensor) -> tf.Tensor:
        """[n, ...] of a replica -> [size * n, ...]: those of all, in their order."""
        gathered = self._launcher._all_gather(value, self._launcher._options)
        return tf.ensure_shape(gathered, [self.size * value.shape[0], *value.shape[1:]])

    def all_to_all(self, value: tf.Tensor) -> tf.Tensor:
        """[size, ...] -> [size, ...]: row s of the result is what replica s has in the row of this one."""
        if value.shape[0] != self.size:
            raise ValueError(f"one row for each of {self.size} replicas, got {value.shape}")
        launcher = self._launcher
        instance_key = launcher._next_instance_key()
        with tf.device(launcher._device):
            exchanged = tf.raw_ops.CollectiveAllToAllV2(
                input=value,
                group_size=launcher._group_size,
                group_key=launcher._group_key,
                instance_key=instance_key,
                ordering_token=[launcher._get_ordering_token()],
                communication_hint=launcher._options.implementation.value,
                timeout_seconds=launcher._options.timeout_seconds or 0,
            )
        return tf.ensure_shape(exchanged, value.shape)


def sum_over_replicas(value: Any) -> Any:
    """The sum over all replicas of a tensor or of `tf.IndexedSlices`; call in replica context. It has no gradient.

    It is what `ReplicaContext.all_reduce` does inside its custom gradient. TensorFlow registers that for ever, and
    with it the graph and the iterators that the graph captured: every `fit` would leave a dozen threads behind.
    """
    extended = tf.distribute.get_strategy().extended
    if extended._use_merge_call():
        context = tf.distribute.get_replica_context()
        return context.merge_call(lambda _, v: extended.reduce_to(_SUM, v, v), args=(value,))
    return extended._replica_ctx_all_reduce(_SUM, value)


def everyone() -> Group:
    """All replicas; call in replica context, as the two below."""
    return Group(_num_replicas(), _replica(), _everyones_launcher())


def within_task() -> Group:
    """The replicas of this task."""
    rank = tf.constant(local_replica())
    size = num_local_replicas()
    # Keys are known to the whole cluster, so every task needs one of its own.
    task = _task()
    return Group(size, rank, _own_launcher("within", _WITHIN_TASK_KEY + task, size))


def across_tasks() -> Group:
    """One replica of every task: those that have the number of this one in their tasks."""
    key = _ACROSS_TASKS_KEY + local_replica()
    size = _num_replicas() // num_local_replicas()
    return Group(size, tf.constant(_task()), _own_launcher("across", key, size))


def local_replica() -> int:
    """The number of this replica among those of its task; call in replica context."""
    return int(tf.distribute.get_replica_context()._replica_id)


def num_local_replicas() -> int:
    """How many replicas a task has; call in replica context or in a strategy's scope. 1 outside of any."""
    if not tf.distribute.has_strategy():
        return 1
    return len(tf.distribute.get_strategy().extended.worker_devices)


def _task() -> int:
    replica = tf.get_static_value(_replica())
    assert replica is not None, "a replica's number is a constant of its graph"
    return int(replica) // num_local_replicas()


def _replica() -> tf.Tensor:
    return tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32)


def _num_replicas() -> int:
    return int(tf.distribute.get_replica_context().num_replicas_in_sync)


def _everyones_launcher() -> Any:
    extended = tf.distribute.get_strategy().extended
    # A MirroredStrategy may have been given another way to reduce; the collective one is there all the same.
    operations = getattr(extended, "_collective_ops", extended._cross_device_ops)
    return operations._launchers[local_replica()]


def _own_launcher(kind: str, group_key: int, size: int) -> Any:
    """A launcher of this replica for another group; kept with the strategy."""
    of_strategy = _launchers.setdefault(tf.distribute.get_strategy().extended, {})
    key = (kind, local_replica())
    if key not in of_strategy:
        like = _everyones_launcher()
        keys = cross_device_utils.CollectiveKeys(group_key)
        launcher = cross_device_utils.CollectiveReplicaLauncher(
            keys.get_group_key([like._device]), size, keys, like._device, like._options
        )
        # One order for all collectives of a device: NCCL hangs without.
        launcher._ordering_token = like._ordering_token
        of_strategy[key] = launcher
    return of_strategy[key]
