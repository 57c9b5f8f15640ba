"""`tf.distribute` strategies by name."""

from tfdml.strategies.factory import STRATEGY_NAMES, create, is_chief

__all__ = ["STRATEGY_NAMES", "create", "is_chief"]
