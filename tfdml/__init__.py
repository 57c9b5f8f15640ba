"""Distributed training for Keras 3 on TensorFlow: correct, compressed, survivable.

Submodules load on first use, so that `import tfdml` and the `tfdml` command answer without importing TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import Any

from tfdml.version import __version__

_SUBMODULES = (
    "callbacks",
    "checkpoint",
    "cluster",
    "config",
    "data",
    "doctor",
    "determinism",
    "errors",
    "export",
    "heartbeat",
    "launch",
    "layers",
    "monitoring",
    "optimizers",
    "precision",
    "runs",
    "storage",
    "strategies",
    "testing",
    "training",
)

__all__ = ["Trainer", "__version__", *_SUBMODULES]


def __getattr__(name: str) -> Any:
    if name == "Trainer":
        return importlib.import_module("tfdml.training").Trainer
    if name in _SUBMODULES:
        return importlib.import_module(f"tfdml.{name}")
    raise AttributeError(f"module 'tfdml' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
