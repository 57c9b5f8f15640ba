"""A worker that does not answer breaks the collectives off, by its name; none is started on one host."""

from __future__ import annotations

import signal

from tests.launch.launcher import eventually
from tfdml.cluster.spec import ClusterSpec
from tfdml.strategies import peer_probe
from tfdml.testing import start_workers


def reduce_for_ever() -> str:
    """Until the end of the collectives, whose error is returned. The probe is quicker than heartbeats."""
    import tensorflow as tf

    import tfdml
    from tfdml.cluster.lost_peers import lost_tasks
    from tfdml.strategies import peer_probe

    cluster = tfdml.cluster.resolve()
    strategy = tfdml.strategies.create("multi_worker", cluster)

    @tf.function
    def total(x: tf.Tensor) -> tf.Tensor:
        return strategy.run(
            lambda: tf.distribute.get_replica_context().all_reduce("sum", tf.identity(x))
        )

    total(tf.constant(1.0))
    peer_probe.INTERVAL_SECONDS = peer_probe.TIMEOUT_SECONDS = 0.2
    probe = peer_probe.PeerProbe([task for task in cluster.tasks() if task != cluster])
    print("ready")
    try:
        while True:
            total(tf.constant(1.0))
    except tf.errors.OpError as error:
        (lost,) = lost_tasks(str(error), cluster)
        probe.close()
        return f"{peer_probe.MARK in str(error)} {lost.task_name}"


def test_a_worker_that_hangs_is_named_by_the_probe() -> None:
    with start_workers(reduce_for_ever, 2) as workers:
        assert eventually(lambda: all("ready\n" in worker.output() for worker in workers))
        workers[1].kill(signal.SIGSTOP)
        assert workers.wait_for(0) == "True worker 1"


def test_no_probe_on_a_single_host() -> None:
    assert peer_probe.watch(ClusterSpec({"worker": ("a:1", "a:2")}, "worker", 0)) is None
    jobs = {"worker": ("a:1", "b:2"), "evaluator": ("c:1",)}
    assert peer_probe.watch(ClusterSpec(jobs, "evaluator", 0)) is None
