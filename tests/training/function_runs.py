"""Training on a function of the input context: each task reads a part of the data, of its own length."""

from __future__ import annotations

from typing import Any

import numpy as np

# Batches of one replica on each task: task 1 has a smaller second batch and no third one.
BATCHES = {0: (4, 4, 3), 1: (4, 2)}


def _part(task: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(task)
    rows = sum(BATCHES[task])
    return generator.normal(size=(rows, 5)), generator.integers(0, 3, size=rows)


def _model() -> Any:
    import keras

    keras.utils.set_random_seed(4)
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    model = keras.Sequential([keras.layers.Input((5,)), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"])
    return model


def with_keras() -> dict[str, Any]:
    """Step s of the reference has the s-th batch of every task."""
    import tensorflow as tf

    model = _model()

    def batches() -> Any:
        for step in range(3):
            rows = []
            for task, sizes in BATCHES.items():
                if step < len(sizes):
                    begin = sum(sizes[:step])
                    x, y = _part(task)
                    rows.append((x[begin : begin + sizes[step]], y[begin : begin + sizes[step]]))
            yield np.concatenate([x for x, _ in rows]), np.concatenate([y for _, y in rows])

    spec = (tf.TensorSpec([None, 5], tf.float64), tf.TensorSpec([None], tf.int64))
    data = tf.data.Dataset.from_generator(batches, output_signature=spec)
    history = model.fit(data, epochs=2, verbose=0).history
    return {"weights": model.get_weights(), "history": history}


def with_two_workers() -> dict[str, Any]:
    import tensorflow as tf

    import tfdml

    strategy = tfdml.strategies.create("multi_worker", tfdml.cluster.resolve())
    with strategy.scope():
        model = _model()

    def read(context: tf.distribute.InputContext) -> tf.data.Dataset:
        assert context.num_input_pipelines == 2
        task = context.input_pipeline_id
        x, y = _part(task)
        sizes = BATCHES[task]
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
        assert int(data.cardinality()) == len(sizes)
        return data

    trainer = tfdml.Trainer(model, strategy)
    history = trainer.fit(read, epochs=2, verbose=False).history
    evaluation = trainer.evaluate(read)
    return {"weights": model.get_weights(), "history": history, "evaluation": evaluation}
