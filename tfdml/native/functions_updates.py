"""Updates of some rows of a table: native ops where there are any, else the same in TensorFlow's own."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfdml.native import reference_updates
from tfdml.native.choice import or_reference


@or_reference(reference_updates.sparse_adam)
def sparse_adam(
    ops: Any,
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
    if variable.dtype != tf.float32:  # The kernel is for float32 only; such tables are rare.
        function = reference_updates.sparse_adam
        return function(
            variable,
            momentum,
            velocity,
            gradient,
            indices,
            alpha=alpha,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
        )
    return ops.tfdml_sparse_adam(
        variable=variable.handle,
        momentum=momentum.handle,
        velocity=velocity.handle,
        gradient=gradient,
        indices=indices,
        alpha=alpha,
        beta_1=beta_1,
        beta_2=beta_2,
        epsilon=epsilon,
    )
