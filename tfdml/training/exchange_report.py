"""What the Trainer says and checks about the exchange of gradients."""

from __future__ import annotations

import tensorflow as tf

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


def exchange_logs(optimizer: DistributedOptimizer, agreement: Agreement) -> Logs:
    """The exchange's figures as logs, the same on every task; every task calls it."""
    stats = optimizer.exchange_stats()
    norms = agreement.of_each(stats.residual_norm)
    return {
        "wire_bytes_per_step": float(stats.wire_bytes),
        "compression_ratio": stats.compression_ratio,
        "residual_norm": sum(norms) / len(norms),
    }
