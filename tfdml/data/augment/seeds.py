"""Seeds as pure functions of what is augmented: (source seed, epoch, record), or (source seed, step).

Every input is mixed in by one round of SplitMix64 (Steele, Lea, Flood 2014), so neighbouring records and
epochs have unrelated seeds. It is plain integer arithmetic on uint64: of any shape, in a graph or out of
it, and the same on every machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

# Says what a seed is for: a record and a step of one number must not draw the same.
_OF_RECORD = 1
_OF_STEP = 2


def record_seed(source_seed: Any, epoch: Any, record_id: Any) -> tf.Tensor:
    """Of a record in an epoch: int32 [2] for scalars, [..., 2] for record ids of a shape [...]."""
    return _as_seed(_mix(_mix(_mix(_uint64(_OF_RECORD), source_seed), epoch), record_id))


def step_seed(source_seed: Any, global_step: Any) -> tf.Tensor:
    """Of a step, the same on every worker: int32 [2]."""
    return _as_seed(_mix(_mix(_uint64(_OF_STEP), source_seed), global_step))


def fold(seed: tf.Tensor, number: int) -> tf.Tensor:
    """Another seed for the `number`-th draw with a seed: int32 [2]."""
    return tf.random.experimental.stateless_fold_in(seed, number)


def _mix(state: tf.Tensor, value: Any) -> tf.Tensor:
    state = (state ^ _uint64(value)) + _constant(0x9E3779B97F4A7C15)
    state = (state ^ _shifted(state, 30)) * _constant(0xBF58476D1CE4E5B9)
    state = (state ^ _shifted(state, 27)) * _constant(0x94D049BB133111EB)
    return state ^ _shifted(state, 31)


def _as_seed(state: tf.Tensor) -> tf.Tensor:
    return tf.bitcast(state, tf.int32)


def _uint64(value: Any) -> tf.Tensor:
    if isinstance(value, int):  # beyond int64 in the case of a seed such as 2**63
        return _constant(value % 2**64)
    return tf.bitcast(tf.cast(value, tf.int64), tf.uint64)


def _constant(value: int) -> tf.Tensor:
    return tf.constant(np.uint64(value))


def _shifted(state: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.right_shift(state, tf.cast(bits, tf.uint64))
