"""Snapshots of a training job: saved while it trains, whole or absent, and found again after whatever ended it.

Importing it does not import TensorFlow.
"""

from __future__ import annotations

from tfdml.checkpoint.contents import Contents
from tfdml.checkpoint.follow import follow
from tfdml.checkpoint.model_state import model_sections, named
from tfdml.checkpoint.outcome import Outcome
from tfdml.checkpoint.position import Position
from tfdml.checkpoint.restored import Part, Restored
from tfdml.checkpoint.snapshots import Snapshots
from tfdml.checkpoint.weights import load_weights

__all__ = [
    "Contents",
    "Outcome",
    "Part",
    "Position",
    "Restored",
    "Snapshots",
    "follow",
    "load_weights",
    "model_sections",
    "named",
]
