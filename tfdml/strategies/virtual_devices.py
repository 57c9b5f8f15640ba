"""Several logical CPU devices in one process, each a replica.

They let a machine without accelerators run what a host with several GPUs runs.

MultiWorkerMirroredStrategy counts GPUs only: with two logical CPUs a worker it silently makes one replica
a worker. There is no public way to name its local devices together with a cluster, so this module, and no
other, replaces the private `_initialize_local_devices` while a strategy is constructed.
`tests/strategies/test_virtual_devices.py` notices when upstream renames it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from tensorflow.python.distribute.collective_all_reduce_strategy import CollectiveAllReduceExtended

from tfdml.errors import ConfigError


def make_virtual_cpus(count: int) -> list[str]:
    """Split the CPU into `count` logical devices and return their names, `CPU:0` to `CPU:{count-1}`.

    Must run before TensorFlow's runtime starts; later only the same count is accepted.
    """
    if count < 1:
        raise ConfigError(
            f"`num_virtual_devices` must be at least 1, got {count}. Use 2 to try two replicas on one machine."
        )
    cpu = tf.config.list_physical_devices("CPU")[0]
    configured = tf.config.get_logical_device_configuration(cpu)
    if configured is None or len(configured) != count:
        try:
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * count
            )
        except RuntimeError as error:
            raise ConfigError(
                f"`num_virtual_devices` must be set before TensorFlow starts, got {count} when it was already "
                "running. Create the strategy before the first tensor."
            ) from error
    return [f"CPU:{index}" for index in range(count)]


@contextmanager
def local_cpus_per_worker(count: int) -> Iterator[None]:
    """While active, a new MultiWorkerMirroredStrategy takes `count` logical CPUs of each worker as replicas."""
    original = CollectiveAllReduceExtended._initialize_local_devices

    def local_devices(
        extended: Any, cluster_resolver: Any, worker_device: str
    ) -> tuple[tuple[str, ...], str]:
        return tuple(f"{worker_device}/device:CPU:{index}" for index in range(count)), "CPU"

    CollectiveAllReduceExtended._initialize_local_devices = local_devices
    try:
        yield
    finally:
        CollectiveAllReduceExtended._initialize_local_devices = original
