"""Programs that the tests of parameter servers run in every task."""

from __future__ import annotations

from typing import Any

ROWS, FEATURES, BATCH = 46, 5, 8


def coordinator() -> Any:
    """The strategy on the chief; workers and ps serve in here until the test ends them."""
    import tfdml

    cluster = tfdml.cluster.resolve()
    tfdml.cluster.serve(cluster)
    return tfdml.strategies.create("parameter_server", cluster)


def constant_gradients(optimizer_name: str, steps: int) -> dict[str, Any]:
    """`steps` steps whose gradient is 0.5 whatever the weights are: exact in binary, so that nothing may be lost."""
    import keras
    import tensorflow as tf

    import tfdml

    strategy = coordinator()
    optimizers = {
        "sgd": lambda: keras.optimizers.SGD(0.25),
        "adagrad": lambda: keras.optimizers.Adagrad(0.25, initial_accumulator_value=0.0),
    }

    class Sum(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(4,), initializer="zeros", name="w")

        def call(self, x: Any) -> Any:
            return x * self.w

    with strategy.scope():
        model = keras.Sequential([keras.layers.Input((4,)), Sum()])
        model.compile(
            optimizers[optimizer_name](),
            loss=lambda y, p: tf.reduce_sum(p, axis=-1),
            metrics=["mae"],
            steps_per_execution=4,
        )
    data = tf.data.Dataset.from_tensors((tf.fill([8, 4], 0.5), tf.zeros([8, 4]))).repeat(steps)
    trainer = tfdml.Trainer(model, strategy)
    history = trainer.fit(data, epochs=1, verbose=False).history
    optimizer = model.optimizer.inner_optimizer
    return {
        "weights": model.get_weights()[0].tolist(),
        "iterations": int(optimizer.iterations.numpy()),
        "slots": [v.numpy().tolist() for v in optimizer.variables[2:]],
        "counts": [float(m.count.numpy()) for m in model.metrics if hasattr(m, "count")],
        "history": history,
    }


def make_model(compression: Any = None, features: int = FEATURES) -> Any:
    import keras

    import tfdml

    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((features,)),
            layers.Dense(64),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.Dropout(0.1),
            layers.Dense(64, "relu"),
            layers.Dense(3),
        ]
    )
    optimizer = tfdml.optimizers.DistributedOptimizer(
        keras.optimizers.Adam(0.01), compression=compression
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], steps_per_execution=2)
    return model


def train(
    directory: str,
    epochs: int = 3,
    *,
    log: str | None = None,
    backup: str | None = None,
    monitoring: str | None = None,
    stop_after: int | None = None,
    compression: Any = None,
    pull_dtype: str | None = None,
    plain: bool = False,
    shuffle: str = "full",
) -> dict[str, Any]:
    """Train on a Source (or its batches as a plain data set), validate, evaluate and predict."""
    import os
    import signal

    import keras
    import numpy as np

    import tfdml
    from tests.training.source_runs import make_source
    from tfdml.checkpoint import Position
    from tfdml.data.order import Slice

    strategy = coordinator()
    with strategy.scope():
        model = make_model(compression)
    trainer = tfdml.Trainer(model, strategy, pull_dtype=pull_dtype)
    source = make_source(directory, log=log, shuffle=shuffle)
    validation = make_source(directory, shuffle="none")
    steps = source.steps_per_epoch
    data = source.dataset(Position(0, 0, 0), Slice()).take(steps) if plain else source
    seen: list[int] = []

    class Stops(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(batch)
            if stop_after is not None and len(seen) == stop_after:
                os.kill(os.getpid(), signal.SIGTERM)

    callbacks: list[Any] = [Stops()]
    if backup is not None:
        callbacks.append(tfdml.callbacks.BackupAndRestore(backup, 100, delete_checkpoint=False))
    if monitoring is not None:
        callbacks.append(tfdml.callbacks.Monitoring(monitoring))
    history = trainer.fit(
        data, epochs=epochs, validation_data=validation, callbacks=callbacks, verbose=False
    ).history
    evaluation = trainer.evaluate(validation)
    whole = validation.dataset(Position(0, 0, 0), Slice()).take(steps)
    predicted = trainer.predict(whole)
    expected = np.concatenate([model(x, training=False).numpy() for x, _ in whole])
    labels = np.concatenate([y.numpy() for _, y in whole])
    return {
        "history": history,
        "evaluation": evaluation,
        "accuracy": float((expected.argmax(-1) == labels).mean()),
        "predicted": predicted,
        "expected": expected,
        "iterations": int(model.optimizer.iterations.numpy()),
        "seen": seen,
        "moving": [v.numpy().tolist() for v in model.layers[1].non_trainable_variables],
        "push_bytes": model.optimizer.asynchronous.push.wire_bytes(model.trainable_variables),
    }


def refusals() -> list[str]:
    import keras
    import tensorflow as tf

    import tfdml
    from tfdml.errors import TfdmlError
    from tfdml.optimizers import DistributedOptimizer

    strategy = coordinator()
    messages: list[str] = []

    def fit(data: Any, **options: Any) -> None:
        model = make_model()
        tfdml.Trainer(model, strategy, **options).fit(data, verbose=False)

    data = tf.data.Dataset.from_tensors((tf.zeros([4, FEATURES]), tf.zeros([4])))
    sgd = keras.optimizers.SGD
    attempts = [
        lambda: DistributedOptimizer(keras.optimizers.RMSprop()),
        lambda: DistributedOptimizer(sgd(), gradient_accumulation_steps=2),
        lambda: DistributedOptimizer(sgd(use_ema=True)),
        lambda: DistributedOptimizer(sgd(), compression="powersgd"),
        lambda: fit(data, pull_dtype="int8"),
        lambda: fit(lambda context: data),
    ]
    with strategy.scope():
        for attempt in attempts:
            try:
                attempt()
            except TfdmlError as error:
                messages.append(f"{type(error).__name__}: {error}")
    return messages
