"""In which precision a model computes, and the loss scale that float16 needs."""

from tfdml.precision.delicate import Delicate, delicate_layers, keep_float32
from tfdml.precision.loss_scale import LossScale
from tfdml.precision.policy import POLICY_NAMES, set_policy

__all__ = [
    "POLICY_NAMES",
    "Delicate",
    "LossScale",
    "delicate_layers",
    "keep_float32",
    "set_policy",
]
