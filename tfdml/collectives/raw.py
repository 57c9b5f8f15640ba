"""All-reduce, all-gather and all-to-all of tensors with static shapes, one collective each.

The public `ReplicaContext.all_gather` sends the sizes first (a second collective) and merges all replicas'
graphs; there is no public all-to-all. TensorFlow's launchers know group, keys and order; this is the one module
that touches them.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def all_reduce(value: tf.Tensor) -> tf.Tensor:
    """The sum over all replicas, in the shape of `value`."""
    launcher, options = _launcher()
    return launcher.all_reduce(value, None, options)


def all_gather(value: tf.Tensor) -> tf.Tensor:
    """[n, ...] of a replica -> [replicas * n, ...]: those of all replicas, in their order."""
    launcher, options = _launcher()
    gathered = launcher._all_gather(value, options)
    return tf.ensure_shape(gathered, [launcher._group_size * value.shape[0], *value.shape[1:]])


def all_to_all(value: tf.Tensor) -> tf.Tensor:
    """[replicas, ...] -> [replicas, ...]: row s of the result is what replica s has in the row of this one."""
    launcher, options = _launcher()
    if value.shape[0] != launcher._group_size:
        raise ValueError(f"one row for each of {launcher._group_size} replicas, got {value.shape}")
    instance_key = launcher._next_instance_key()
    with tf.device(launcher._device):
        exchanged = tf.raw_ops.CollectiveAllToAllV2(
            input=value,
            group_size=launcher._group_size,
            group_key=launcher._group_key,
            instance_key=instance_key,
            ordering_token=[launcher._get_ordering_token()],
            communication_hint=options.implementation.value,
            timeout_seconds=options.timeout_seconds or 0,
        )
    return tf.ensure_shape(exchanged, value.shape)


def local_replica() -> int:
    """The number of this replica among those of its task; call in replica context."""
    return int(tf.distribute.get_replica_context()._replica_id)


def _launcher() -> tuple[Any, Any]:
    """The launcher of this replica, and the options of its strategy; call in replica context."""
    extended = tf.distribute.get_replica_context().strategy.extended
    # A MirroredStrategy may have been given another way to reduce; the collective one is there all the same.
    operations = getattr(extended, "_collective_ops", extended._cross_device_ops)
    launcher = operations._launchers[local_replica()]
    return launcher, launcher._options
