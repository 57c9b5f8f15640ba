"""Training loops over `tf.distribute` for compiled Keras 3 models."""

from tfdml.training.trainer import Trainer

__all__ = ["Trainer"]
