"""Compare the weights of processes and replicas bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np


def weight_hash(model: Any, include_optimizer: bool = False) -> str:
    """SHA-256 (hex) over dtype, shape and bytes of all variables in creation order.

    Names do not count. Of a replicated variable this reads the first local copy; see
    `replica_hashes` for the others.
    """
    return _hash(_read(v, 0) for v in _variables(model, include_optimizer))


def replica_hashes(model: Any, include_optimizer: bool = False) -> list[str]:
    """`weight_hash` of every local replica, in replica order; one entry without replication."""
    variables = _variables(model, include_optimizer)
    num_replicas = max((len(_copies(v)) for v in variables), default=1)
    return [_hash(_read(v, replica) for v in variables) for replica in range(num_replicas)]


def _variables(model: Any, include_optimizer: bool) -> list[Any]:
    variables = list(model.variables)
    if include_optimizer:
        variables += list(model.optimizer.variables)
    return variables


def _copies(variable: Any) -> tuple[Any, ...]:
    value = getattr(variable, "value", variable)
    if callable(value):  # of a Keras variable `value` is a property, of a tf.Variable a method
        value = variable
    return tuple(getattr(value, "values", (value,)))


def _read(variable: Any, replica: int) -> np.ndarray:
    copies = _copies(variable)
    return np.asarray(copies[replica if len(copies) > 1 else 0])


def _hash(arrays: Iterable[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.name}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
