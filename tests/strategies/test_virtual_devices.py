"""Logical CPU devices as replicas, within one process and within each worker."""

from __future__ import annotations

import inspect

import pytest

from tfdml.errors import ConfigError
from tfdml.testing import run_in_process, run_workers


def count_replicas(name: str, devices: int) -> int:
    import tfdml

    strategy = tfdml.strategies.create(name, tfdml.cluster.resolve(), num_virtual_devices=devices)
    return strategy.num_replicas_in_sync


def test_mirrored_uses_every_virtual_device():
    assert run_in_process(count_replicas, ("mirrored", 3)) == 3


def test_two_workers_with_two_virtual_devices_are_four_replicas():
    assert run_workers(count_replicas, 2, ("multi_worker", 2)) == [4, 4]


def too_late() -> str:
    import tensorflow as tf

    from tfdml.strategies.virtual_devices import make_virtual_cpus

    tf.zeros([1])
    with pytest.raises(ConfigError) as caught:
        make_virtual_cpus(2)
    return str(caught.value)


def test_splitting_the_cpu_after_tensorflow_started_says_so():
    assert "before TensorFlow starts" in run_in_process(too_late)


def test_upstream_still_has_the_method_that_is_replaced():
    from tensorflow.python.distribute.collective_all_reduce_strategy import (
        CollectiveAllReduceExtended,
    )

    method = CollectiveAllReduceExtended._initialize_local_devices
    assert list(inspect.signature(method).parameters) == [
        "self",
        "cluster_resolver",
        "worker_device",
    ]
