"""Callbacks, and the rules by which `tfdml.Trainer` runs them."""

from tfdml.training.callbacks import ChiefOnly

__all__ = ["ChiefOnly"]
