"""What the Trainer says and checks about the exchange of gradients."""

from __future__ import annotations

import hashlib

from tfdml.errors import ClusterError
from tfdml.native import loader
from tfdml.optimizers import DistributedOptimizer
from tfdml.training.agreement import Agreement
from tfdml.training.metrics import Logs


def check_same_library(agreement: Agreement) -> None:
    """Compare the native libraries of all tasks; every task calls it.

    Raises:
        ClusterError: a task has another one than task 0. What they compute may differ in the last bit, and
            replicas that do not agree drift apart without a word.
    """
    own = loader.digest()
    numbers = agreement.of_each(int(hashlib.sha256(own.encode()).hexdigest()[:6], 16))
    others = [str(task) for task, number in enumerate(numbers) if number != numbers[0]]
    if others:
        raise ClusterError(
            f"tasks have different native libraries: task {', '.join(others)} another one than task 0 "
            f"(this is task {agreement.task}, with '{own[:16]}'). Install the same tfdml, TensorFlow and compiler on "
            "all hosts, or set TFDML_NATIVE=off on all."
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
