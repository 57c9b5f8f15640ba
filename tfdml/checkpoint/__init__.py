"""Snapshots of a training job on shared storage."""

from tfdml.checkpoint.checkpointer import Checkpointer, Position

__all__ = ["Checkpointer", "Position"]
