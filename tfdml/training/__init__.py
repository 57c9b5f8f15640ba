"""Training loops over `tf.distribute` for compiled Keras 3 models."""

from tfdml.training.by_slice import Slices, metrics_by_slice
from tfdml.training.trainer import Trainer

__all__ = ["Slices", "Trainer", "metrics_by_slice"]
