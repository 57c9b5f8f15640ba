"""What the tests of ShardedEmbedding run in every task of a job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROWS, WIDTH, SHARDS, BATCH, STEPS = 50, 4, 3, 6, 12


def data(bad_id: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Padded ids, some rows of which are often asked for, and what to predict."""
    random = np.random.default_rng(0)
    ids = np.minimum(random.geometric(0.1, (BATCH * STEPS, 5)) - 1, ROWS - 1)
    ids[random.uniform(size=ids.shape) < 0.3] = -1
    ids[2] = -1
    if bad_id is not None:
        ids[-1, 0] = bad_id
    return ids, np.sum(ids * (ids >= 0), axis=1, keepdims=True).astype("f4") / 50


def make_model(optimizer: str, wrapped: bool = True, compression: str = "none") -> Any:
    """Compiled, with weights that depend on nothing but their shape."""
    import keras

    import tfdml

    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((5,), dtype="int64"),
            tfdml.layers.ShardedEmbedding(
                ROWS, WIDTH, num_shards=SHARDS, combiner="sum", feature_name="item", name="items"
            ),
            keras.layers.Dense(1),
        ]
    )
    for variable in model.weights:
        values = np.random.default_rng(len(variable.shape)).normal(size=variable.shape)
        variable.assign(values * 0.1)
    inner = {
        "sgd": lambda: keras.optimizers.SGD(0.02),
        "adagrad": lambda: keras.optimizers.Adagrad(0.1),
        "adam": lambda: keras.optimizers.Adam(0.02),
    }[optimizer]()
    model.compile(
        tfdml.optimizers.DistributedOptimizer(inner, compression=compression) if wrapped else inner,
        loss="mse",
        steps_per_execution=3,
    )
    return model


def weights_of(model: Any) -> dict[str, np.ndarray]:
    """By layer and name: a model that is loaded has other names before those."""
    return {"/".join(v.path.split("/")[-2:]): np.array(v) for v in model.weights}


def fit(
    optimizer: str,
    strategy_name: str,
    devices: int | None = None,
    bad_id: int | None = None,
    compression: str = "none",
) -> dict[str, Any]:
    """Two epochs by `tfdml.Trainer`."""
    import tensorflow as tf

    import tfdml
    from tfdml.errors import DataError
    from tfdml.testing import replica_hashes

    cluster = tfdml.cluster.resolve()
    if strategy_name == "parameter_server" and tfdml.cluster.serve(cluster):
        return {}
    arguments = {} if devices is None else {"num_virtual_devices": devices}
    strategy = tfdml.strategies.create(strategy_name, cluster, **arguments)
    with strategy.scope():
        model = make_model(optimizer, compression=compression)
    batches = tf.data.Dataset.from_tensor_slices(data(bad_id)).batch(BATCH)
    try:
        history = tfdml.Trainer(model, strategy).fit(batches, epochs=2, verbose=False).history
    except DataError as error:
        return {"error": str(error)}
    synchronous = strategy_name != "parameter_server"
    return {
        "weights": weights_of(model),
        "loss": history["loss"],
        "hashes": replica_hashes(model) if synchronous else [],
        "iterations": int(model.optimizer.iterations.numpy()),
    }


def in_coordinator(work: Callable[[Any, Any], Any]) -> Any:
    """`work(strategy, coordinator)` on the chief of a parameter-server job; the other tasks serve."""
    import tensorflow as tf

    import tfdml

    cluster = tfdml.cluster.resolve()
    tfdml.cluster.serve(cluster)
    strategy = tfdml.strategies.create("parameter_server", cluster)
    return work(strategy, tf.distribute.coordinator.ClusterCoordinator(strategy))


def train_by_rules(
    optimizer: str, directory: str, strategy: Any, coordinator: Any
) -> dict[str, Any]:
    """A hand-written loop: one closure a batch; then weights and optimizer are saved."""
    import keras
    import tensorflow as tf

    from tfdml.optimizers.async_rules import increment, rule_for

    with strategy.scope():
        model = make_model(optimizer, wrapped=False)
        model.optimizer.build(model.trainable_variables)
    rule = rule_for(model.optimizer)
    ids, targets = data()

    @tf.function
    def step(ids, targets):
        def on_worker():
            with tf.GradientTape() as tape:
                error = model(ids, training=True) - targets
                loss = tf.reduce_mean(tf.square(error))
            variables = model.trainable_variables
            gradients = tape.gradient(loss, [variable.value for variable in variables])
            sparse = [isinstance(gradient, tf.IndexedSlices) for gradient in gradients]
            assert sparse == [True] * SHARDS + [False, False]
            number = increment(model.optimizer.iterations)
            rate = tf.convert_to_tensor(model.optimizer.learning_rate)
            for gradient, variable in zip(rule.clip(gradients), variables, strict=True):
                rule.apply(gradient, variable, step=number, learning_rate=rate)
            return loss

        return strategy.run(on_worker)

    losses = []
    for _ in range(20):
        for start in range(0, len(ids), BATCH):
            batch = (tf.constant(part[start : start + BATCH]) for part in (ids, targets))
            losses.append(coordinator.schedule(step, args=tuple(batch)))
    coordinator.join()
    values = [float(loss.fetch()) for loss in losses]
    model.save_weights(Path(directory) / "model.weights.h5")
    model.save(Path(directory) / "model.keras")
    shards = model.layers[0].shards
    devices = []

    class Recorded(keras.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            value = tf.zeros(shape, dtype)
            devices.append(value.device)
            return value

    with strategy.scope():
        from tfdml.layers import ShardedEmbedding

        layer = ShardedEmbedding(ROWS, WIDTH, num_shards=4, embeddings_initializer=Recorded())
        layer.build()
    return {
        "losses": values,
        "weights": weights_of(model),
        "slots": [v.numpy() for v in model.optimizer.variables[2:]],
        "iterations": int(model.optimizer.iterations.numpy()),
        "shard_devices": [shard.value.handle.device for shard in shards],
        "made_on": devices,
        "kept_on": [shard.value.handle.device for shard in layer.shards],
    }


def load(directory: str, strategy: Any, coordinator: Any) -> dict[str, Any]:
    """What another job finds in the files."""
    with strategy.scope():
        model = make_model("adam", wrapped=False)
        model.optimizer.build(model.trainable_variables)
        model.load_weights(Path(directory) / "model.weights.h5")
    return {
        "weights": weights_of(model),
        "slots": [v.numpy() for v in model.optimizer.variables[2:]],
        "iterations": int(model.optimizer.iterations.numpy()),
    }
