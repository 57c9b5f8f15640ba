"""Updates of some rows of a table in TensorFlow's own ops: what the native ops compute."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def sparse_adam(
    variable: tf.Variable,
    momentum: tf.Variable,
    velocity: tf.Variable,
    gradient: tf.Tensor,
    indices: tf.Tensor,
    *,
    alpha: tf.Tensor,
    beta_1: tf.Tensor,
    beta_2: tf.Tensor,
    epsilon: tf.Tensor,
) -> Any:
    """Adam in the rows `indices` of a table and of its two averages; other rows stay as they are.

    m += (g - m) (1 - beta_1); v += (g^2 - v) (1 - beta_2); w -= alpha m / (sqrt(v) + epsilon)

    The native op holds the locks of the three variables while it runs. Here a mutex on the variable's device, one for
    each table, keeps calls of this function apart: none of them loses anything to another. A reader may see rows
    of which the averages are new and the weights old.

    Args:
        variable, momentum, velocity: [rows, ...] of one floating dtype, on one device.
        gradient: [n, ...] of that dtype, the rows' gradients.
        indices: int32 or int64 [n], each row once.
        alpha: the learning rate with the bias correction, lr sqrt(1 - beta_2^t) / (1 - beta_1^t); a scalar, as are
            beta_1, beta_2 and epsilon, of the variable's dtype.
    """
    gradient, indices = (
        tf.identity(gradient),
        tf.identity(indices),
    )  # here, before the lock is taken
    mutex = tf.raw_ops.MutexV2(shared_name=f"tfdml_rows/{variable.name}")
    with tf.control_dependencies([gradient, indices, alpha]):
        lock = tf.raw_ops.MutexLock(mutex=mutex)
    with tf.control_dependencies([lock]):
        m, v = tf.gather(momentum, indices), tf.gather(velocity, indices)
        m += (gradient - m) * (1 - beta_1)
        v += (tf.square(gradient) - v) * (1 - beta_2)
        step = m * alpha / (tf.sqrt(v) + epsilon)
        written = [
            tf.raw_ops.ResourceScatterUpdate(resource=slot.handle, indices=indices, updates=rows)
            for slot, rows in ((momentum, m), (velocity, v))
        ]
        written.append(
            tf.raw_ops.ResourceScatterSub(resource=variable.handle, indices=indices, updates=step)
        )
    with tf.control_dependencies([op for op in written if op is not None]):
        return tf.raw_ops.ConsumeMutexLock(mutex_lock=lock)
