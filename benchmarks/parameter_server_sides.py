"""Models, data and the Trainer's side of `parameter_server.py`, on the task that coordinates."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from compressions import from_the_first_step

import tfdml

FEATURES, CLASSES = 64, 10
BATCHES = 64  # of a worker's data, which then repeats


class TrainerSide:
    """`Trainer.fit` in a thread of its own, which trains for an epoch each time it gets its turn.

    Args:
        model: compiled, made in the scope of the strategy.
        data: what `Trainer.fit` takes.
        steps: of an epoch.
        options: of the Trainer.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        data: Any,
        steps: int,
        **options: Any,
    ):
        self.model = model
        self.losses: list[float] = []
        self._turns: queue.Queue[None] = queue.Queue()
        self._done: queue.Queue[float | BaseException] = queue.Queue()

        def fit() -> None:
            try:
                trainer = tfdml.Trainer(model, strategy, **options)
                trainer.fit(
                    data,
                    epochs=2**30,
                    steps_per_epoch=steps,
                    callbacks=[_WaitsForItsTurn(self)],
                    verbose=False,
                )
            except BaseException as error:
                self._done.put(error)

        self._thread = threading.Thread(target=fit, daemon=True)

    def seconds(self) -> float:
        """How long one epoch takes, from its first step to the end of its last."""
        if not self._thread.ident:
            self._thread.start()
        self._turns.put(None)
        result = self._done.get()
        if isinstance(result, BaseException):
            raise result
        return result

    def wait(self) -> None:
        self._turns.get()

    def tell(self, seconds: float, loss: float) -> None:
        self.losses.append(loss)
        self._done.put(seconds)


class _WaitsForItsTurn(keras.callbacks.Callback):
    def __init__(self, side: TrainerSide):
        super().__init__()
        self._side = side

    def on_epoch_begin(self, epoch, logs=None):
        self._side.wait()
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self._side.tell(time.perf_counter() - self._begin, logs["loss"])


def take_turns(sides: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    """What each side gave, round by round; another one begins in every round, and the first round does not count."""
    results: dict[str, list[Any]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            result = sides[name]()
            if number:
                results[name].append(result)
    return results


# -- models and data


def compile_classifier(model: keras.Model, optimizer: Any, at_once: int) -> keras.Model:
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=at_once,
    )
    return model


def dense_model(widths: list[int], optimizer: Any, at_once: int) -> keras.Model:
    """FEATURES - widths - CLASSES."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(width, activation="relu") for width in widths]
    model = keras.Sequential([keras.Input((FEATURES,)), *layers, keras.layers.Dense(CLASSES)])
    return compile_classifier(model, optimizer, at_once)


def dense_data(rows: int) -> Callable[[Any], tf.data.Dataset]:
    """A data set for each worker: endless batches of `rows` examples."""

    def make(context: Any) -> tf.data.Dataset:
        generator = np.random.default_rng(0)
        x = generator.normal(size=(BATCHES * rows, FEATURES)).astype("float32")
        y = generator.integers(0, CLASSES, size=BATCHES * rows)
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(rows, drop_remainder=True)
        return data.cache().repeat().prefetch(2)

    return make


def compressed(optimizer: keras.optimizers.Optimizer, codec: str | None) -> Any:
    """`optimizer` with pushes in `codec` from the first step on; call in the strategy's scope."""
    compression = None if codec is None else from_the_first_step(codec)
    return tfdml.optimizers.DistributedOptimizer(optimizer, compression=compression)


def table_model(
    table_rows: int, width: int, optimizer: Any, *, at_once: int, num_shards: int | None = None
) -> keras.Model:
    """The mean of some rows of a ShardedEmbedding, and a linear classifier of it."""
    keras.utils.set_random_seed(0)
    table = tfdml.layers.ShardedEmbedding(
        table_rows, width, num_shards=num_shards, combiner="mean", feature_name="id"
    )
    ids = keras.Input((None,), dtype="int64")
    model = keras.Model(ids, keras.layers.Dense(CLASSES)(table(ids)))
    return compile_classifier(model, optimizer, at_once)


def table_data(table_rows: int, rows: int, ids: int) -> Callable[[Any], tf.data.Dataset]:
    """Endless batches of `rows` examples with `ids` ids each, from all of the table; the last one tells the class."""

    def make(context: Any) -> tf.data.Dataset:
        generator = np.random.default_rng(0)
        # Few enough to be learned by heart in a short run.
        x = generator.integers(0, table_rows, size=(8 * rows, ids))
        data = tf.data.Dataset.from_tensor_slices((x, x[:, -1] % CLASSES))
        return data.batch(rows, drop_remainder=True).cache().repeat().prefetch(2)

    return make
