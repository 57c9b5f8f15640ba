"""Snapshots of a training job: saved while it trains, whole or absent, and found again after whatever ended it.

Nothing here imports TensorFlow but `Checkpointer`, which loads on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfdml.checkpoint.contents import Contents
from tfdml.checkpoint.model_state import model_sections, named
from tfdml.checkpoint.outcome import Outcome
from tfdml.checkpoint.position import Position
from tfdml.checkpoint.restored import Part, Restored
from tfdml.checkpoint.snapshots import Snapshots
from tfdml.checkpoint.weights import load_weights

if TYPE_CHECKING:
    from tfdml.checkpoint.checkpointer import Checkpointer

__all__ = [
    "Checkpointer",
    "Contents",
    "Outcome",
    "Part",
    "Position",
    "Restored",
    "Snapshots",
    "load_weights",
    "model_sections",
    "named",
]


def __getattr__(name: str) -> Any:
    if name == "Checkpointer":
        from tfdml.checkpoint.checkpointer import Checkpointer

        return Checkpointer
    raise AttributeError(f"module 'tfdml.checkpoint' has no attribute {name!r}")
