"""Tensors that belong to a replica and outlive a step: accumulators, residuals, what an exchange remembers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfdml.collectives import raw
from tfdml.errors import DataError

Part = Mapping[str, np.ndarray]


class ReplicaState:
    """Per-replica variables, keyed by the model variable they belong to and a name.

    They are not optimizer variables: a checkpoint of the model does not hold them, and every task owns its own
    part, which it exports and loads itself.

    There are two kinds. What counts of a *share* (a residual, an accumulator) is its sum over the replicas. A
    *copy* is the same on all replicas.
    """

    def __init__(self) -> None:
        self._slots: dict[str, tf.Variable] = {}
        self._shares: set[str] = set()

    def zeros_like(self, variable: keras.Variable, name: str) -> tf.Variable:
        """The share `name` of `variable`: zeros of its shape and dtype at first.

        Call in the strategy's scope the first time.
        """
        key = _key(variable, name)
        self._shares.add(key)
        return self._slot(key, lambda: tf.zeros(variable.shape, variable.dtype))

    def copy(self, variable: keras.Variable, name: str, initial: np.ndarray) -> tf.Variable:
        """The copy `name` of `variable`; call in the strategy's scope the first time."""
        return self._slot(_key(variable, name), lambda: tf.constant(initial))

    def scalar(self, name: str) -> tf.Variable:
        """A float32 copy that belongs to no variable, 0 at first."""
        return self._slot(name, lambda: tf.constant(0.0))

    def local(self, variable: keras.Variable, name: str) -> tf.Variable:
        """The slot of this replica as a plain variable; call in replica context."""
        return _locals(self._slots[_key(variable, name)])[raw.local_replica()]

    def has(self, variable: keras.Variable, name: str) -> bool:
        """Whether there is a slot `name` of `variable`."""
        return _key(variable, name) in self._slots

    def norm(self, name: str) -> float:
        """The L2 norm of the slots `name` of this task's first replica, all variables together."""
        slots = [_locals(slot)[0] for key, slot in self._slots.items() if key.endswith(f"/{name}")]
        return float(tf.linalg.global_norm(slots)) if slots else 0.0

    def export_local(self) -> dict[str, np.ndarray]:
        """This task's part: for every slot the values of its replicas, [local replicas, ...]."""
        return {
            key: np.stack([component.numpy() for component in _locals(slot)])
            for key, slot in self._slots.items()
        }

    def load(self, parts: Sequence[Part], *, first_replica: int, num_replicas: int) -> None:
        """Load what all tasks exported; every task calls it.

        Where there were as many replicas as there are now each gets its own. Otherwise every replica gets an
        equal share of the sum, and the copy of the first.

        Args:
            parts: of all tasks, in the order of their replicas.
            first_replica: the number of this task's first replica, among all.
            num_replicas: how many replicas there are now.

        Raises:
            DataError: the parts are of another model or another exchange.
        """
        for key, slot in self._slots.items():
            for part in parts:
                if key not in part or part[key].shape[1:] != tuple(slot.shape):
                    there = part[key].shape[1:] if key in part else "nothing"
                    raise DataError(
                        f"the saved state of the replicas does not fit: '{key}' has shape {tuple(slot.shape)} "
                        f"here and {there} there. Use the model and the `compression` that it was saved with."
                    )
            values = np.concatenate([part[key] for part in parts])
            for number, component in enumerate(_locals(slot)):
                if len(values) == num_replicas:
                    component.assign(values[first_replica + number])
                elif key in self._shares:
                    component.assign(values.sum(axis=0) / num_replicas)
                else:
                    component.assign(values[0])

    def __len__(self) -> int:
        return len(self._slots)

    def _slot(self, key: str, initial: object) -> tf.Variable:
        if key not in self._slots:
            with tf.init_scope():
                self._slots[key] = tf.Variable(
                    initial,
                    trainable=False,
                    name=key.rpartition("/")[2],
                    synchronization=tf.VariableSynchronization.ON_READ,
                    aggregation=tf.VariableAggregation.SUM,
                )
        return self._slots[key]


def _key(variable: keras.Variable, name: str) -> str:
    return f"{variable.path}/{name}"


def _locals(slot: tf.Variable) -> tuple[tf.Variable, ...]:
    """The plain variables of this task's replicas."""
    return tuple(getattr(slot, "values", (slot,)))
