"""A training step that reads weights from the parameter servers in fewer bits.

Keras's own step reads every variable as it is. Here each is cast where it lies, so that half the bytes cross the
network, and gradients are those with respect to what was read. Tables, of which a step needs some rows, are not read
whole.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfdml.errors import ConfigError

PULL_DTYPES = ("bfloat16", "float16")


class PullingStep:
    """`keras.Model.train_step` of `model`, with weights that travel as `pull_dtype`.

    Raises:
        ConfigError: another dtype, or a model with a train_step of its own.
    """

    def __init__(self, model: keras.Model, pull_dtype: str):
        if pull_dtype not in PULL_DTYPES:
            raise ConfigError(
                f"`pull_dtype` must be one of {', '.join(PULL_DTYPES)} or None, got {pull_dtype!r}."
            )
        if type(model).train_step is not keras.Model.train_step:
            raise ConfigError(
                f"`pull_dtype` works with Keras's own train_step, and {type(model).__name__} has another. "
                "Leave it out."
            )
        self._model = model
        self._dtype = pull_dtype
        tables = {
            id(variable)
            for layer in model._flatten_layers(include_self=False)
            if isinstance(layer, keras.layers.Embedding) or getattr(layer, "is_table", False)
            for variable in layer.variables
        }
        self._pulled = [
            variable
            for variable in model.trainable_variables
            if id(variable) not in tables and variable.dtype == "float32"
        ]

    def __call__(self, data: Any) -> None:
        """One step on a worker, within the scope in which nothing is assigned."""
        model = self._model
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        pulled = {id(variable): self._pull(variable) for variable in self._pulled}
        sources = [pulled.get(id(variable), variable) for variable in model.trainable_variables]
        # What the forward pass changes is told to the scope around this step, of which this one hides the updates.
        others = model.non_trainable_variables
        mapping = [(variable, pulled[id(variable)]) for variable in self._pulled]
        mapping += [(variable, variable.value) for variable in others]
        with tf.GradientTape() as tape:
            for value in pulled.values():
                tape.watch(value)
            with keras.StatelessScope(state_mapping=mapping) as scope:
                y_pred = model(x, training=True)
                loss = model.compute_loss(
                    x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True
                )
            scaled = model.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, sources)
        for variable in others:
            variable.assign(scope.get_current_value(variable))
        rows = tf.shape(next(leaf for leaf in tf.nest.flatten(x) if leaf is not None))[0]
        model._loss_tracker.update_state(loss, sample_weight=rows)
        model.optimizer.apply(gradients, model.trainable_variables)
        model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def _pull(self, variable: keras.Variable) -> tf.Tensor:
        with tf.device(variable.value.device):
            short = tf.cast(variable.value.read_value(), self._dtype)
        return tf.cast(short, variable.dtype)
