"""Training on a Source, in processes: what each task reads, and what comes out."""

from __future__ import annotations

from typing import Any

import numpy as np

ROWS = 46
FEATURES = 5
BATCH = 8


def write_data(directory: str) -> None:
    """Records of an id, features and a label, in three shards."""
    from tfdml.data.format.record_file import write_records

    generator = np.random.default_rng(0)
    first = 0
    for number, size in enumerate((20, 19, 7)):
        records = [
            b"".join(
                (
                    np.int64(i).tobytes(),
                    generator.normal(size=FEATURES).tobytes(),
                    np.int64(generator.integers(3)).tobytes(),
                )
            )
            for i in range(first, first + size)
        ]
        write_records(f"{directory}/x-train.tfrecord-{number:05d}-of-00003", records)
        first += size


def make_source(directory: str, *, log: str | None = None, **order: Any) -> Any:
    """Batches of (x, y). With `log` every id that is read is written down, with noise that depends on the seed."""
    import tensorflow as tf

    from tfdml.data.order import Order
    from tfdml.data.records import RecordSet
    from tfdml.data.source import Source

    def parse(records: tf.Tensor) -> Any:
        words = tf.io.decode_raw(records, tf.float64)
        words = tf.ensure_shape(words, [None, FEATURES + 2])
        numbers = tf.bitcast(words[:, 0], tf.int64), tf.bitcast(words[:, -1], tf.int64)
        return {"id": numbers[0], "x": words[:, 1:-1], "y": numbers[1]}

    def augment(example: Any, seed: tf.Tensor) -> Any:
        noise = tf.random.stateless_normal([FEATURES], seed, dtype=tf.float64)
        return example | {"x": example["x"] + 0.1 * noise}

    def note(ids: np.ndarray, x: np.ndarray) -> np.ndarray:
        with open(log, "a", encoding="utf-8") as file:
            file.write(" ".join(map(str, ids)) + "\n")
        return x

    def batching(batch: Any) -> Any:
        x = batch["x"]
        if log is not None:
            noted = tf.numpy_function(note, [batch["id"], x], tf.float64)
            x = tf.ensure_shape(noted, x.shape)
        return x, batch["y"]

    records = RecordSet.open(directory, "train")
    order = Order(records.num_records, **({"global_batch_size": BATCH, "seed": 5} | order))
    return Source(records, order, parse, augment=augment, batching=batching)


def make_model() -> Any:
    import keras

    keras.utils.set_random_seed(4)
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    model = keras.Sequential([keras.layers.Input((FEATURES,)), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"])
    return model


def with_keras(directory: str, epochs: int, **order: Any) -> dict[str, Any]:
    """The batches of the Source as they are, one replica."""
    from tfdml.checkpoint import Position
    from tfdml.data.order import Slice

    source = make_source(directory, **order)
    model = make_model()
    data = source.dataset(Position(0, 0, 0), Slice())
    steps = source.steps_per_epoch
    history = model.fit(data, epochs=epochs, steps_per_epoch=steps, verbose=0).history
    evaluation = model.evaluate(data, steps=steps, verbose=0, return_dict=True)
    return {"weights": model.get_weights(), "history": history, "evaluation": evaluation}


def with_trainer(
    directory: str,
    epochs: int,
    strategy_name: str,
    num_virtual_devices: int | None = None,
    *,
    log: str | None = None,
    fit: dict[str, Any] | None = None,
    steps_per_execution: int = 1,
    **order: Any,
) -> dict[str, Any]:
    import os

    import tfdml

    cluster = tfdml.cluster.resolve()
    strategy = tfdml.strategies.create(
        strategy_name, cluster, num_virtual_devices=num_virtual_devices
    )
    with strategy.scope():
        model = make_model()
        model.steps_per_execution = steps_per_execution
    trainer = tfdml.Trainer(model, strategy)
    if log is not None:
        log = os.path.join(log, str(cluster.task_index))
    validation = make_source(directory, **order)
    history = trainer.fit(
        make_source(directory, log=log, **order),
        epochs=epochs,
        validation_data=validation,
        verbose=False,
        **(fit or {}),
    ).history
    evaluation = trainer.evaluate(validation)
    return {"weights": model.get_weights(), "history": history, "evaluation": evaluation}


def from_the_middle(directory: str, log: str) -> list[int]:
    """Fail after step 2 of epoch 1 was saved and go on; returns the steps that callbacks saw then."""
    import os
    import time

    import keras

    import tfdml

    strategy = tfdml.strategies.create("one_device")
    with strategy.scope():
        model = make_model()
    trainer = tfdml.Trainer(model, strategy)
    steps: list[int] = []

    class Fails(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            steps.append(batch)
            time.sleep(0.2)  # so that the save after step 8 has come to its end
            if len(steps) == 11:
                raise ZeroDivisionError

    def fit(folder: str, callbacks: list[Any]) -> None:
        os.makedirs(os.path.join(log, folder))
        source = make_source(directory, log=os.path.join(log, folder, "0"))
        backup = tfdml.callbacks.BackupAndRestore(os.path.join(log, "snapshots"), save_freq=8)
        trainer.fit(source, epochs=2, callbacks=[backup, *callbacks], verbose=False)

    try:
        fit("before", [Fails()])
    except ZeroDivisionError:
        steps.clear()
    seen = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: steps.append(step))
    fit("after", [seen])
    return steps


def refusals(directory: str) -> list[str]:
    """What is wrong with the data is one sentence; a class weight is none of it."""
    import tfdml
    from tfdml.errors import DataError

    strategy = tfdml.strategies.create("one_device")
    with strategy.scope():
        model = make_model()
    trainer = tfdml.Trainer(model, strategy)
    source = make_source(directory)
    trainer.fit(source, class_weight={0: 2.0}, verbose=False)
    messages = []
    shard = source.records.shards[1].path
    with open(shard, "r+b") as file:
        file.seek(100)
        file.write(b"damaged")
    for attempt in (lambda: trainer.fit(source, verbose=False), lambda: trainer.evaluate(source)):
        try:
            attempt()
        except DataError as error:
            messages.append(str(error))
    return messages


def predictions(directory: str, strategy_name: str, num_virtual_devices: int | None = None) -> Any:
    """Predictions of an untrained model for a Source, in the order of the records; and Keras's own."""
    import tfdml
    from tfdml.checkpoint import Position
    from tfdml.data.order import Slice

    strategy = tfdml.strategies.create(
        strategy_name, tfdml.cluster.resolve(), num_virtual_devices=num_virtual_devices
    )
    source = make_source(directory, shuffle="none")
    with strategy.scope():
        model = make_model()
    trainer = tfdml.Trainer(model, strategy)
    found = trainer.predict(source), trainer.predict(source, steps=source.steps_per_epoch - 1)
    whole = source.dataset(Position(0, 0, 0), Slice()).take(source.steps_per_epoch)
    return (*found, np.concatenate([model(x).numpy() for x, _ in whole]))
