"""How gradients are summed over replicas."""

from tfdml.collectives.compressed import CompressedExchange
from tfdml.collectives.dense import DenseExchange
from tfdml.collectives.exchange import Exchange
from tfdml.collectives.one_shot import OneShot
from tfdml.collectives.powersgd import PowerSgd
from tfdml.collectives.replica_state import ReplicaState
from tfdml.collectives.resolve import COMPRESSION_NAMES, resolve_exchange
from tfdml.collectives.two_phase import TwoPhase

__all__ = [
    "COMPRESSION_NAMES",
    "CompressedExchange",
    "DenseExchange",
    "Exchange",
    "OneShot",
    "PowerSgd",
    "ReplicaState",
    "TwoPhase",
    "resolve_exchange",
]
