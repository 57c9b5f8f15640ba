"""Programs that the tests of precision run in every task."""

from __future__ import annotations

from typing import Any

import numpy as np

FEATURES, BATCH, STEPS, EPOCHS = 4, 8, 12, 2
ROW = 5  # of each batch: the second of two replicas has it


def make_data(poisoned: tuple[int, ...] = ()) -> Any:
    """Batches of a linear task; in the `poisoned` steps the target of one row is so far away that its gradient is
    infinite in float16, while its loss is finite in float32."""
    import tensorflow as tf

    x = np.random.default_rng(0).normal(size=(STEPS * BATCH, FEATURES)).astype("float32")
    y = x @ np.array([[1.0], [-1.0], [0.5], [0.0]], "float32")
    for step in poisoned:
        y[step * BATCH + ROW] = 1e6
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)


def make_model(steps_per_execution: int, width: int = 16, **settings: Any) -> Any:
    import keras

    import tfdml

    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((FEATURES,)),
            layers.Dense(width, "tanh"),
            layers.LayerNormalization(),
            layers.Dense(width, "relu"),
            layers.Dense(1, dtype="float32"),
        ]
    )
    optimizer = tfdml.optimizers.DistributedOptimizer(keras.optimizers.Adam(0.02), **settings)
    model.compile(optimizer, "mse", steps_per_execution=steps_per_execution)
    return model


def strategy_for(name: str, devices: int | None) -> Any:
    import tfdml

    cluster = tfdml.cluster.resolve()
    if tfdml.cluster.serve(cluster):
        raise SystemExit
    return tfdml.strategies.create(name, cluster, num_virtual_devices=devices)


def overflow(
    name: str,
    devices: int | None = None,
    *,
    policy: str = "mixed_float16",
    poisoned: tuple[int, ...] = (),
    steps_per_execution: int = 1,
    **settings: Any,
) -> dict[str, Any]:
    """Train and tell the scale, the updates and the skipped steps after every execution."""
    import keras

    import tfdml
    from tfdml.testing import replica_hashes

    tfdml.precision.set_policy(policy)
    strategy = strategy_for(name, devices)
    with strategy.scope():
        model = make_model(steps_per_execution, **settings)
    path: list[tuple[float, int, int]] = []

    def watch(batch: int, logs: Any) -> None:
        optimizer = model.optimizer
        path.append(
            (
                float(optimizer.loss_scale),
                int(optimizer.iterations.numpy()),
                int(optimizer.skipped_steps.numpy()),
            )
        )

    trainer = tfdml.Trainer(model, strategy)
    callbacks = [keras.callbacks.LambdaCallback(on_train_batch_end=watch)]
    error, history = None, {}
    try:
        data = make_data(poisoned)
        history = trainer.fit(data, epochs=EPOCHS, callbacks=callbacks, verbose=False).history
    except tfdml.errors.TfdmlError as caught:
        error = f"{type(caught).__name__}: {caught}"
    return {
        "path": path,
        "history": history,
        "error": error,
        "hashes": [] if error else replica_hashes(model),
        "loss": None if error else trainer.evaluate(make_data())["loss"],
    }


def combinations(
    name: str, devices: int | None, policies: tuple[str, ...], labels: tuple[str, ...]
) -> dict[str, dict]:
    """The loss before and after training under each policy with each setting, all on one strategy."""
    import tfdml
    from tfdml.testing import replica_hashes

    strategy = strategy_for(name, devices)
    results = {}
    for policy in policies:
        for label in labels:
            tfdml.precision.set_policy(policy)
            with strategy.scope():
                # Wide enough that a kernel is compressed.
                model = make_model(4, width=64, **SETTINGS[label])
            trainer = tfdml.Trainer(model, strategy)
            before = trainer.evaluate(make_data())["loss"]
            trainer.fit(make_data(), epochs=4, verbose=False)
            results[f"{policy}, {label}"] = {
                "before": before,
                "after": trainer.evaluate(make_data())["loss"],
                "hashes": replica_hashes(model),
                "dtypes": sorted({str(v.dtype) for v in model.trainable_variables}),
                "scale": float(model.optimizer.loss_scale),
            }
    return results


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulated": {"gradient_accumulation_steps": 2},
    "clipped": {"global_clipnorm": 0.5},
    "int8": {"compression": "int8"},
    "all": {
        "gradient_accumulation_steps": 2,
        "global_clipnorm": 0.5,
        "compression": "int8",
    },
}


def sixteen_bits(name: str) -> dict[str, str]:
    """What is said of weights in 16 bits: by set_policy, by the strategy, and by the Trainer."""
    import keras

    import tfdml
    from tfdml.errors import ConfigError

    said = {}

    def attempt(place: str, function: Any) -> Any:
        try:
            return function()
        except ConfigError as error:
            said[place] = str(error)
            return None

    attempt("set_policy", lambda: tfdml.precision.set_policy(name))
    keras.config.set_dtype_policy(name)
    cluster = tfdml.cluster.resolve()
    attempt("strategy", lambda: tfdml.strategies.create("multi_worker", cluster))
    keras.config.set_dtype_policy("float32")
    strategy = tfdml.strategies.create("multi_worker", cluster)
    with strategy.scope():
        # float16, because TensorFlow itself raises where bfloat16 weights are made.
        layers = [keras.layers.Input((2,)), keras.layers.Dense(1, dtype="float16")]
        model = keras.Sequential(layers)
        model.compile("sgd", "mse")
    attempt("trainer", lambda: tfdml.Trainer(model, strategy))
    return said
