"""Predictions for a whole data set, in its order, on every task."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdml.data.source import Source
from tfdml.errors import ConfigError, DataError
from tfdml.training import prepare
from tfdml.training.stream import BEGINNING, make_stream


def predict(
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    data: tf.data.Dataset | Source,
    steps: int | None,
) -> Any:
    """Run `model.predict_step` over `data`; see `Trainer.predict`."""
    if not isinstance(data, tf.data.Dataset | Source):
        raise ConfigError(
            f"predict takes a tf.data.Dataset of global batches or a Source, got {type(data).__name__}. "
            "For arrays: tf.data.Dataset.from_tensor_slices(x).batch(global_batch_size)."
        )
    stream = make_stream(data, strategy)
    if not model.built:
        prepare.build(model, strategy, stream.element_spec)
    number = strategy.num_replicas_in_sync

    def on_replica(batch: Any, rows: tf.Tensor, global_rows: tf.Tensor) -> Any:
        outputs = model.predict_step(batch)
        # Slices differ by one example; equal shapes keep the gather simple.
        largest = tf.maximum((global_rows + number - 1) // number, 1)

        def gather(output: tf.Tensor) -> tf.Tensor:
            output = output[:rows]
            missing = largest - tf.shape(output)[0]
            padded = tf.pad(output, [[0, missing]] + [[0, 0]] * (output.shape.rank - 1))
            if number == 1:
                return padded
            return tf.distribute.get_replica_context().all_gather(padded, axis=0)

        return tf.nest.map_structure(gather, outputs)

    @tf.function(autograph=False, reduce_retracing=True)
    def one_batch(iterator: Any) -> tuple[tf.Tensor, Any]:
        batch, rows, global_rows = next(iterator)
        outputs = strategy.run(on_replica, args=(batch, rows, global_rows))
        first = lambda value: strategy.experimental_local_results(value)[0]
        return first(global_rows), tf.nest.map_structure(first, outputs)

    iterator = iter(stream.open(BEGINNING))
    parts: list[Any] = []
    limit = stream.num_batches if steps is None else min(steps, stream.num_batches or steps)
    while limit is None or len(parts) < limit:
        global_rows, outputs = one_batch(iterator)
        size = int(global_rows)
        if size == 0:
            break
        keep = _kept_rows(size, number)
        parts.append(tf.nest.map_structure(lambda output, keep=keep: output.numpy()[keep], outputs))
    if not parts:
        raise DataError(
            "the data to predict yielded no batch. Check its source, and any filter or take."
        )
    return tf.nest.map_structure(lambda *values: np.concatenate(values), *parts)


def _kept_rows(global_rows: int, number: int) -> np.ndarray:
    """Positions of the real rows among `number` slices that were padded to the largest."""
    smaller, larger_slices = divmod(global_rows, number)
    largest = max(-(-global_rows // number), 1)
    return np.concatenate(
        [
            np.arange(smaller + (replica < larger_slices)) + replica * largest
            for replica in range(number)
        ]
    )
