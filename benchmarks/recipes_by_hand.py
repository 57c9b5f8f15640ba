"""A recipe whose Trainer is the loop that people write themselves for one device: `recipes_by_hand.py SCRIPT FLAGS`.

The recipe makes model, data and optimizer as always; what `Trainer` wraps the optimizer in is taken off again.
"""

from __future__ import annotations

import runpy
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

import tfdml
from tfdml.checkpoint import Position
from tfdml.data.order import Slice


class ByHand:
    """Takes the place of `tfdml.Trainer`: trains, prints examples/s, and ends the program."""

    is_chief = True

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy, **_: Any):
        self._model, self._strategy = model, strategy

    def fit(
        self, train_data: Any, *, epochs: int, steps_per_epoch: int | None = None, **_: Any
    ) -> None:
        model, at_once = self._model, self._model.steps_per_execution
        optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        with self._strategy.scope():
            optimizer.build(model.trainable_variables)
        steps = steps_per_epoch or train_data.steps_per_epoch
        iterator = iter(train_data.dataset(Position(0, 0, 0), Slice()).repeat())

        def step(batch: Any) -> tf.Tensor:
            x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
            with tf.GradientTape() as tape:
                prediction = model(x, training=True)
                loss = model.compute_loss(x, y, prediction, weight)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
            model.compute_metrics(x, y, prediction, weight)
            return tf.shape(tf.nest.flatten(x)[0])[0]

        @tf.function(autograph=False)
        def many(count: tf.Tensor) -> tf.Tensor:
            def body(done: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                return done + 1, rows + self._strategy.run(step, args=(next(iterator),))

            _, rows = tf.while_loop(lambda done, _: done < count, body, (0, 0))
            return rows

        rates = []
        for _ in range(epochs):
            begin, rows, left = time.perf_counter(), 0, steps
            while left > 0:
                count = min(left, at_once)
                rows += int(many(tf.constant(count)))
                left -= count
            rates.append(rows / (time.perf_counter() - begin))
        print(f"by hand: {statistics.median(rates[1:]):.2f} examples/s")
        sys.stdout.flush()
        raise SystemExit(0)


if __name__ == "__main__":
    script = Path(sys.argv[1])
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(script.parent))
    tfdml.Trainer = ByHand  # type: ignore[misc, assignment]
    runpy.run_path(str(script), run_name="__main__")
