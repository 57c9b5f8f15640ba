"""Optimizers that are right under `tf.distribute`, for large batches too, and their learning rates."""

from tfdml.optimizers.distributed import DistributedOptimizer
from tfdml.optimizers.lamb import Lamb
from tfdml.optimizers.lars import Lars
from tfdml.optimizers.learning_rate import LearningRatePlan, learning_rate_plan
from tfdml.optimizers.schedules import InverseSquareRoot, StableDecay, WarmUp
from tfdml.optimizers.settings import from_config

__all__ = [
    "DistributedOptimizer",
    "InverseSquareRoot",
    "Lamb",
    "Lars",
    "LearningRatePlan",
    "StableDecay",
    "WarmUp",
    "from_config",
    "learning_rate_plan",
]
