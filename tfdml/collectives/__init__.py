"""How gradients are summed over replicas."""

from tfdml.collectives.dense import DenseExchange
from tfdml.collectives.exchange import Exchange
from tfdml.collectives.one_shot import OneShotExchange
from tfdml.collectives.replica_state import ReplicaState
from tfdml.collectives.resolve import resolve_exchange

__all__ = ["DenseExchange", "Exchange", "OneShotExchange", "ReplicaState", "resolve_exchange"]
