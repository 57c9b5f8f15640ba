"""What the optimizer has to say, for records; it costs a tenth of a millisecond, which counts in short epochs."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf

from tfdml.monitoring import names
from tfdml.monitoring.measurement import Measurement


class OptimizerValues:
    """Of `model`, which need not have one.

    Args:
        exchanges: whether replicas do, in steps that they make together.
    """

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy, *, exchanges: bool):
        self._model = model
        self._strategy = strategy
        self._exchanges = exchanges
        self._wire_bytes: float | None = None

    def now(self) -> dict[str, float]:
        """Learning rate, and of a loss scale that and the skipped steps."""
        optimizer = self._model.optimizer
        if optimizer is None:
            return {}
        values = optimizer.epoch_logs()
        if names.LEARNING_RATE not in values:
            # Of one replica: that reads a quarter as long as Keras does.
            rate = self._strategy.experimental_local_results(optimizer.learning_rate.value)[0]
            values[names.LEARNING_RATE] = float(rate.numpy())
        return values

    def of_gradients(self, measured: Measurement) -> dict[str, float]:
        """Their norm, and how many were clipped; empty where no step exchanged any."""
        rows = measured.rows("gradient_norm")[0]
        rows, clipped = rows[rows > 0], measured.rows("clipped")[0][rows > 0]
        if not len(rows):
            return {}
        values = {names.GRADIENT_NORM: float(rows.mean())}
        inner = getattr(self._model.optimizer, "inner_optimizer", None)
        if inner is not None and (inner.global_clipnorm or inner.clipnorm or inner.clipvalue):
            values[names.CLIP_RATE] = float(clipped.mean())
        return values

    def wire_bytes(self, logs: Mapping[str, float]) -> dict[str, float]:
        """Where `logs` do not say because nothing is compressed, so that it stays as it is."""
        optimizer = self._model.optimizer
        if optimizer is None or not self._exchanges or names.WIRE_BYTES in logs:
            return {}
        if self._wire_bytes is None:
            self._wire_bytes = float(optimizer.exchange_stats().wire_bytes)
        return {names.WIRE_BYTES: self._wire_bytes}
