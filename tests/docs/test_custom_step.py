"""What docs/from-custom-loop.md says about a step of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfdml.testing import WorkerError, run_in_process


def plain_loss(y: Any, predicted: Any) -> Any:
    import keras

    return keras.ops.mean((y - predicted) ** 2)


def plain_loss_divided(y: Any, predicted: Any) -> Any:
    import tensorflow as tf

    return plain_loss(y, predicted) / tf.distribute.get_strategy().num_replicas_in_sync


def train_step(model: Any, data: Any) -> dict[str, Any]:
    import tensorflow as tf

    x, y = data
    with tf.GradientTape() as tape:
        loss = model.loss_of_step(y, model(x, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    model.optimizer.apply(gradients, model.trainable_variables)
    return {"loss": loss}


def train_one_step(num_replicas: int, *, decorated: bool = False) -> dict[str, dict[str, Any]]:
    """One step of gradient descent from zero weights on 8 rows, for each way to write the loss.

    Returns, by the name of the loss, the weights after the step and the loss in its logs.
    """
    import keras
    import tensorflow as tf

    import tfdml

    if num_replicas == 1:
        strategy = tfdml.strategies.create("one_device")
    else:
        strategy = tfdml.strategies.create("mirrored", num_virtual_devices=num_replicas)
    assert strategy.num_replicas_in_sync == num_replicas
    step = tf.function(train_step) if decorated else train_step
    model_class = type("Model", (keras.Sequential,), {"train_step": step})
    losses = {
        "keras": keras.losses.MeanSquaredError(),
        "plain": plain_loss,
        "divided": plain_loss_divided,
    }
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    y = x.sum(axis=1, keepdims=True)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    results = {}
    for name, loss in losses.items():
        with strategy.scope():
            dense = keras.layers.Dense(1, kernel_initializer="zeros")
            model = model_class([keras.layers.Input((3,)), dense])
            model.loss_of_step = loss
            model.compile(optimizer=keras.optimizers.SGD(0.5))
        history = tfdml.Trainer(model, strategy).fit(data, verbose=False)
        results[name] = {"weights": dense.get_weights()[0], "logged": history.history["loss"][0]}
    return results


def test_losses_of_keras_are_scaled_and_plain_ones_are_not():
    one = run_in_process(train_one_step, (1,))
    two = run_in_process(train_one_step, (2,), num_virtual_devices=2)
    right = one["keras"]["weights"]
    for result in (one["plain"], one["divided"], two["keras"], two["divided"]):
        np.testing.assert_allclose(result["weights"], right, rtol=1e-5)
    np.testing.assert_allclose(two["plain"]["weights"], 2 * right, rtol=1e-5)
    # Inside the step, a Keras loss has the value of the replica's share.
    assert two["keras"]["logged"] == pytest.approx(one["keras"]["logged"] / 2, rel=1e-5)
    assert two["plain"]["logged"] == pytest.approx(one["plain"]["logged"], rel=1e-5)


@pytest.mark.slow
def test_a_step_that_is_a_tf_function_is_refused_by_tensorflow():
    with pytest.raises(WorkerError, match="avoid decorating overridden methods"):
        run_in_process(train_one_step, (2,), {"decorated": True}, num_virtual_devices=2)
