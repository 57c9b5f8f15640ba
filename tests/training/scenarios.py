"""Models and data of the kinds that `fit` must take, each trained by plain Keras and by tfdml.

All run in float64 with batches of 10, 10, 7 on 2 or 3 replicas, so that slices are uneven.
"""

from __future__ import annotations

from typing import Any

import numpy as np

ROWS, BATCH = 27, 10


def _generator() -> np.random.Generator:
    return np.random.default_rng(11)


def _dataset(*parts: Any) -> Any:
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(parts).batch(BATCH)


def _x(*shape: int) -> np.ndarray:
    return _generator().normal(size=(ROWS, *shape))


def _labels(classes: int = 3) -> np.ndarray:
    return _generator().integers(0, classes, size=ROWS)


def _dense(units: int = 3, **kwargs: Any) -> Any:
    import keras

    layers = [keras.layers.Input((6,)), keras.layers.Dense(8, activation="tanh")]
    return keras.Sequential([*layers, keras.layers.Dense(units, **kwargs)])


def sample_weight() -> tuple:
    model = _dense()
    compiled = {"loss": _scce(), "weighted_metrics": ["accuracy"]}
    return model, compiled, _dataset(_x(6), _labels(), np.linspace(0.0, 3.0, ROWS)), {}


def mean_with_sample_weight() -> tuple:
    model = _dense()
    compiled = {"loss": _scce(reduction="mean_with_sample_weight")}
    return model, compiled, _dataset(_x(6), _labels(), np.linspace(0.0, 3.0, ROWS)), {}


def sum_reduction() -> tuple:
    return _dense(), {"loss": _scce(reduction="sum")}, _dataset(_x(6), _labels()), {}


def class_weight() -> tuple:
    fit = {"class_weight": {0: 1.0, 1: 5.0, 2: 0.5}}
    return _dense(), {"loss": _scce()}, _dataset(_x(6), _labels()), fit


def masked_sequences() -> tuple:
    """Each row has another number of valid positions, so the loss's denominator differs by replica."""
    import keras

    inputs = keras.Input((7,), dtype="int64")
    x = keras.layers.Embedding(20, 4, mask_zero=True)(inputs)
    outputs = keras.layers.Dense(5)(x)
    tokens = _generator().integers(1, 20, size=(ROWS, 7))
    tokens[np.arange(7)[None, :] > (np.arange(ROWS) % 6)[:, None]] = 0
    y = _generator().integers(0, 5, size=(ROWS, 7))
    return keras.Model(inputs, outputs), {"loss": _scce()}, _dataset(tokens, y), {}


def dict_inputs_and_outputs() -> tuple:
    import keras

    a, b = keras.Input((6,), name="a"), keras.Input((2,), name="b")
    x = keras.layers.Dense(8, activation="tanh")(keras.layers.Concatenate()([a, b]))
    outputs = {"left": keras.layers.Dense(1)(x), "right": keras.layers.Dense(3)(x)}
    data = _dataset({"a": _x(6), "b": _x(2)}, {"left": _x(1), "right": _labels()})
    compiled = {
        "loss": {"left": "mse", "right": _scce()},
        "loss_weights": {"left": 0.3, "right": 1.0},
        "metrics": {"right": ["accuracy"]},
    }
    return keras.Model({"a": a, "b": b}, outputs), compiled, data, {}


def string_inputs() -> tuple:
    import keras

    inputs = keras.Input((1,), dtype="string")
    words = ["red", "green", "blue"]
    x = keras.layers.StringLookup(vocabulary=words)(inputs)
    x = keras.layers.Flatten()(keras.layers.Embedding(4, 5)(x))
    outputs = keras.layers.Dense(3)(x)
    text = np.array(words)[_labels()][:, None]
    return keras.Model(inputs, outputs), {"loss": _scce()}, _dataset(text, _labels()), {}


def custom_train_step() -> tuple:
    import keras
    import tensorflow as tf

    class Model(keras.Model):
        def __init__(self, **kwargs: Any):
            super().__init__(**kwargs)
            self.hidden = keras.layers.Dense(8, activation="tanh")
            self.out = keras.layers.Dense(3)
            self.loss_function = _scce()
            self.seen = keras.metrics.Mean(name="seen_loss")

        def build(self, shape: Any) -> None:
            self.hidden.build(shape)
            self.out.build((None, 8))

        def call(self, x: Any) -> Any:
            return self.out(self.hidden(x))

        def train_step(self, data: Any) -> dict:
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.loss_function(y, self(x))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
            return {"constant": tf.constant(2.0), "size": tf.reduce_sum(tf.ones(3))}

    model = Model()
    model.build((None, 6))
    return model, {"loss": _scce()}, _dataset(_x(6), _labels()), {}


def large_embedding() -> tuple:
    """Gradients are IndexedSlices with repeated rows, clipped by their norm."""
    import keras

    inputs = keras.Input((4,), dtype="int64")
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(50, 6)(inputs))
    tokens = _generator().integers(0, 9, size=(ROWS, 4))
    compiled = {"loss": _scce()}
    return keras.Model(inputs, keras.layers.Dense(3)(x)), compiled, _dataset(tokens, _labels()), {}


def lazy_metric() -> tuple:
    """F1Score creates its variables at its first update."""
    import keras

    one_hot = np.eye(3)[_labels()]
    compiled = {
        "loss": keras.losses.CategoricalCrossentropy(from_logits=False),
        "metrics": [keras.metrics.F1Score(average="macro"), keras.metrics.AUC()],
    }
    return _dense(activation="softmax"), compiled, _dataset(_x(6), one_hot), {}


def unknown_cardinality() -> tuple:
    data = _dataset(_x(6), _labels())
    return _dense(), {"loss": _scce()}, data.filter(lambda x, y: True), {}


SCENARIOS = (
    sample_weight,
    mean_with_sample_weight,
    sum_reduction,
    class_weight,
    masked_sequences,
    dict_inputs_and_outputs,
    string_inputs,
    custom_train_step,
    large_embedding,
    lazy_metric,
    unknown_cardinality,
)


def _named(names: tuple[str, ...]) -> list:
    return [scenario for scenario in SCENARIOS if scenario.__name__ in names]


def _scce(**kwargs: Any) -> Any:
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, **kwargs)


def _begin() -> None:
    import keras

    keras.utils.clear_session()
    keras.utils.set_random_seed(5)
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")


def run_with_keras(names: tuple[str, ...]) -> dict[str, dict]:
    import keras

    results = {}
    for scenario in _named(names):
        _begin()
        model, compiled, data, fit = scenario()
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), **compiled)
        history = model.fit(data, epochs=2, verbose=0, **fit).history
        evaluation = model.evaluate(data, verbose=0, return_dict=True)
        predictions = model.predict(data.map(lambda x, *_: x), verbose=0)
        results[scenario.__name__] = _result(model, history, evaluation, predictions)
    return results


def run_with_tfdml(
    names: tuple[str, ...], strategy_name: str, devices: int | None = None
) -> dict[str, dict]:
    import keras

    import tfdml

    strategy = tfdml.strategies.create(
        strategy_name, tfdml.cluster.resolve(), num_virtual_devices=devices
    )
    results = {}
    for scenario in _named(names):
        _begin()
        with strategy.scope():
            model, compiled, data, fit = scenario()
            # A plain Keras optimizer: the Trainer wraps it.
            model.compile(
                keras.optimizers.SGD(0.1, momentum=0.9), steps_per_execution=2, **compiled
            )
        trainer = tfdml.Trainer(model, strategy)
        history = trainer.fit(data, epochs=2, verbose=False, **fit).history
        evaluation = trainer.evaluate(data)
        predictions = trainer.predict(data)
        results[scenario.__name__] = _result(model, history, evaluation, predictions)
    return results


def _result(model: Any, history: Any, evaluation: Any, predictions: Any) -> dict:
    from tfdml.testing import replica_hashes

    return {
        "weights": [np.array(v.numpy()) for v in model.trainable_variables],
        "history": history,
        "evaluation": evaluation,
        "predictions": predictions,
        "hashes": replica_hashes(model),
    }
