"""Different random numbers on every replica, from the same seed.

The state of a `keras.random.SeedGenerator` is replicated, so all replicas would draw the same dropout mask.
Inside a tfdml step the replica's position is folded into every drawn seed; replica 0 draws what one device
draws, and the state itself stays the same everywhere, so a run is reproducible from its seed.

Keras's global generator, from which everything without a seed of its own draws, has no public name.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.random.seed_generator import global_seed_generator

from tfdml.training.replica import current

_keras_next = keras.random.SeedGenerator.next


def install() -> None:
    """Replace `SeedGenerator.next`; harmless when called twice."""
    keras.random.SeedGenerator.next = _next


def _next(generator: keras.random.SeedGenerator, *args: Any, **kwargs: Any) -> tf.Tensor:
    seed = _keras_next(generator, *args, **kwargs)
    step = current()
    if step is None or (isinstance(step.replica_id, int) and step.replica_id == 0):
        return seed
    folded = tf.random.experimental.stateless_fold_in(tf.cast(seed, tf.int32), step.replica_id)
    return tf.cast(folded, seed.dtype)


def global_state() -> np.ndarray:
    """The state of the global generator, uint32 [2]."""
    return np.asarray(global_seed_generator().state.numpy())


def set_global_state(state: Any) -> None:
    """Bring the global generator to a state that `global_state` returned."""
    global_seed_generator().state.assign(np.asarray(state))
