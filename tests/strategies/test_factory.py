"""What `strategies.create` refuses, and how it says so."""

from __future__ import annotations

import pytest

from tfdml import strategies
from tfdml.cluster.spec import ClusterSpec
from tfdml.errors import ClusterError, ConfigError
from tfdml.strategies import factory
from tfdml.strategies.factory import communication_options
from tfdml.testing import run_in_process, run_workers

TWO_WORKERS = ClusterSpec({"worker": ("a:1", "b:1")}, "worker", 0)


def test_an_unknown_name_lists_the_known_ones_and_the_nearest():
    with pytest.raises(ConfigError, match=r"one_device, mirrored.*got 'mirored'.*'mirrored'\?"):
        strategies.create("mirored")


@pytest.mark.parametrize("name", ["one_device", "mirrored"])
def test_a_strategy_of_one_process_refuses_a_cluster(name):
    with pytest.raises(
        ClusterError, match=f"'{name}' trains in one process.*2 workers.*multi_worker"
    ):
        strategies.create(name, TWO_WORKERS)


def test_tpu_with_several_hosts_does_not_advise_another_strategy():
    with pytest.raises(
        ClusterError, match="one host, but the cluster has 2 workers: ask"
    ) as raised:
        strategies.create("tpu", TWO_WORKERS)
    assert "multi_worker" not in str(raised.value)


def test_tpu_without_a_tpu_is_one_sentence():
    with pytest.raises(ClusterError, match="found no TPU"):
        strategies.create("tpu")


def test_multi_worker_refuses_parameter_servers():
    cluster = ClusterSpec({"chief": ("a:1",), "ps": ("b:1",)}, "chief", 0)
    with pytest.raises(ClusterError, match="no parameter servers"):
        strategies.create("multi_worker", cluster)


def second_strategy() -> list[str]:
    messages = []
    strategies.create("mirrored", num_virtual_devices=2)
    strategies.create("one_device")  # has no collectives, so it may stand beside another
    for name in ("mirrored", "multi_worker"):
        try:
            strategies.create(name)
        except ConfigError as error:
            messages.append(str(error))
    return messages


def test_a_second_strategy_with_collectives_in_one_process_is_refused():
    first, second = run_in_process(second_strategy)
    assert "got 'mirrored' after 'mirrored'" in first
    assert "got 'multi_worker' after 'mirrored'" in second


def late_multi_worker() -> str:
    import tensorflow as tf

    import tfdml

    tf.zeros([1])
    factory._LEADER_TIMEOUT_SECONDS = 1.0  # The leader is not going to listen either.
    try:
        strategies.create("multi_worker", tfdml.cluster.resolve())
    except ConfigError as error:
        return str(error)
    return "created"


def test_a_multi_worker_strategy_that_is_created_too_late_says_so():
    messages = run_workers(late_multi_worker, 2)
    assert all("before anything else of TensorFlow" in message for message in messages)


def taken_port() -> str:
    """Worker 1 finds its port taken; worker 0 need not wait for it."""
    import socket

    import tfdml

    cluster = tfdml.cluster.resolve()
    if cluster.task_index == 0:
        return ""
    with socket.socket() as squatter:
        squatter.bind(("", int(cluster.address.rpartition(":")[2])))
        squatter.listen()
        alone = ClusterSpec({"worker": (cluster.address,)}, "worker", 0)
        try:
            strategies.create("multi_worker", alone)
        except ClusterError as error:
            return str(error).replace(cluster.address, "ADDRESS")
    return "created"


def test_a_port_in_use_is_one_sentence_with_tensorflows_own_words():
    _, message = run_workers(taken_port, 2)
    assert message.startswith(
        "Could not start gRPC server: the port of worker 0, ADDRESS, is taken on this host; end the program"
    )


def asked_for() -> str:
    import tfdml

    strategy = tfdml.strategies.create("multi_worker", tfdml.cluster.resolve())
    return strategy.extended._communication_options.implementation.value


def test_nccl_is_asked_for_between_gpus_and_the_ring_otherwise():
    assert communication_options(num_gpus=2).implementation.value == "NCCL"
    assert communication_options(num_gpus=0).implementation.value == "RING"
    assert run_workers(asked_for, 2) == ["RING", "RING"]  # no GPU here
