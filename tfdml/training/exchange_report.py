"""What the Trainer says and checks about the exchange of gradients."""

from __future__ import annotations

import tensorflow as tf

from tfdml.cluster import ClusterSpec
from tfdml.errors import ClusterError
from tfdml.native import loader
from tfdml.optimizers import DistributedOptimizer
from tfdml.strategies.lost_peers import cluster_of
from tfdml.strategies.same_everywhere import check_same
from tfdml.training.agreement import Agreement
from tfdml.training.metrics import Logs


def check_same_library(strategy: tf.distribute.Strategy) -> None:
    """Compare the native libraries of all tasks; every task calls it.

    Raises:
        ClusterError: a task has another one. What they compute may differ in the last bit, and replicas that do
            not agree drift apart without a word.
    """
    cluster = cluster_of(strategy)
    if cluster is not None and cluster.num_workers > 1:
        check_same(strategy, cluster, {"native library": loader.digest()[:12]})


def check_library_of_servers(cluster: ClusterSpec) -> None:
    """Compare the native library of the coordinator, whose graphs they run, with those of workers and ps tasks.

    Raises:
        ClusterError: a task has another one, or none.
    """
    ops = loader.ops()
    if ops is None:
        return  # Graphs hold TensorFlow's own ops only.
    own = ops.tfdml_library_name().numpy().decode()
    for job in ("worker", "ps"):
        for index, address in enumerate(cluster.jobs[job]):
            try:
                with tf.device(f"/job:{job}/task:{index}/device:CPU:0"):
                    theirs = ops.tfdml_library_name().numpy().decode()
            except tf.errors.NotFoundError:  # "Op type not registered"
                theirs = "none"
            if theirs != own:
                raise ClusterError(
                    f"tasks differ in native library: {own} on {cluster.task_name}; {theirs} on {job} {index} "
                    f"({address}). Install the same tfdml and TensorFlow, and a C++ compiler, on all hosts, or set "
                    "TFDML_NATIVE=off on all."
                )


def exchange_logs(optimizer: DistributedOptimizer, agreement: Agreement) -> Logs:
    """The exchange's figures as logs, the same on every task; every task calls it."""
    stats = optimizer.exchange_stats()
    norms = agreement.of_each(stats.residual_norm)
    return {
        "wire_bytes_per_step": float(stats.wire_bytes),
        "compression_ratio": stats.compression_ratio,
        "residual_norm": sum(norms) / len(norms),
    }
