"""`tf.distribute` strategies by name."""

from tfdml.strategies.factory import STRATEGY_NAMES, create, is_chief
from tfdml.strategies.lost_peers import PeerLost, names_lost_peers

__all__ = ["STRATEGY_NAMES", "PeerLost", "create", "is_chief", "names_lost_peers"]
