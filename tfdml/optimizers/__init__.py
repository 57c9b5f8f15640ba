"""Optimizers that are right under `tf.distribute`."""

from tfdml.optimizers.distributed import DistributedOptimizer

__all__ = ["DistributedOptimizer"]
