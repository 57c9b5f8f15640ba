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
