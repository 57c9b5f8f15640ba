"""In which precision a model computes, and the loss scale that float16 needs."""

from tfdml.precision.loss_scale import LossScale

__all__ = ["LossScale"]
