"""NaN in the gradient of one replica, whatever the model, the data and the optimizer are.

The loss of that replica is multiplied with NaN where `train_step` hands it to the optimizer's `scale_loss`, which is
after the metrics have seen it. All gradients of the replica are NaN then, also those that were zero, and nothing
else is. With other factors of 1.0 every other step keeps its bits.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdml.errors import ConfigError
from tfdml.testing.faults.pending import Pending


class NanGradient:
    """Makes the gradients of this task's first replica NaN in the steps on which `pending` falls.

    To be made before the step is traced. `next_step` is the number of the step that comes next.
    """

    def __init__(self, pending: Pending, model: keras.Model) -> None:
        if model.jit_compile:
            raise ConfigError(
                f"the fault '{pending.fault.text}' runs Python in the step, which XLA cannot compile, and the model "
                "has jit_compile=True. Compile it with jit_compile=False for the rehearsal."
            )
        self._pending = pending
        self._optimizer = model.optimizer
        self.next_step = 0
        self._scale_loss = model.optimizer.scale_loss
        # Past Keras's attribute tracking, which would look for variables in the function.
        vars(self._optimizer)["scale_loss"] = self._poisoned

    def remove(self) -> None:
        """Leave the optimizer as it was; what has been traced keeps its factor of 1.0."""
        vars(self._optimizer).pop("scale_loss", None)

    def _poisoned(self, loss: tf.Tensor) -> tf.Tensor:
        loss = self._scale_loss(loss)
        if not _is_first_replica_of_task():
            return loss
        factor = tf.numpy_function(self._factor, [], tf.float32)
        factor.set_shape([])
        return loss * tf.cast(factor, loss.dtype)

    def _factor(self) -> np.float32:
        """Runs once a step, also where many steps run in one `tf.function`."""
        step, self.next_step = self.next_step, self.next_step + 1
        return np.float32(np.nan if self._pending.due(step, step + 1) else 1.0)


def _is_first_replica_of_task() -> bool:
    context: Any = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return True
    here = len(context.strategy.extended.worker_devices)
    return int(tf.get_static_value(context.replica_id_in_sync_group)) % here == 0
