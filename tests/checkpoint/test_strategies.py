"""A snapshot of one strategy continues on another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tfdml.testing import run_in_process


def go_on(directory: str, num_devices: int, epochs: int) -> dict[str, Any]:
    """Restore if there is something, train, save; on so many virtual CPU devices."""
    import keras
    import numpy as np
    import tensorflow as tf

    import tfdml
    from tfdml.checkpoint import Contents, Position, Snapshots, model_sections
    from tfdml.testing import weight_hash

    strategy = (
        tfdml.strategies.create("mirrored", num_virtual_devices=num_devices)
        if num_devices > 1
        else tfdml.strategies.create("one_device")
    )
    keras.utils.set_random_seed(3)
    with strategy.scope():
        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3, "tanh")])
        optimizer = tfdml.optimizers.DistributedOptimizer(keras.optimizers.Adam(0.01))
        model.compile(optimizer, "mse")
        model.optimizer.build(model.trainable_variables)
    snapshots = Snapshots(directory)
    restored = snapshots.restore()
    before = 0
    if restored is not None:
        restored.load_model(model)
        before = restored.position.global_step
    found = weight_hash(model, include_optimizer=True)
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, x[:, :3])).batch(4)
    tfdml.Trainer(model, strategy).fit(data, epochs=epochs, verbose=False)
    step = int(model.optimizer.iterations.numpy())
    contents = Contents(arrays=model_sections(model))
    assert snapshots.save(Position(0, step, step), contents).saved
    return {
        "before": before,
        "step": step,
        "found": found,
        "left": weight_hash(model, include_optimizer=True),
    }


@pytest.mark.slow
def test_one_device_then_two_then_one(tmp_path: Path):
    first = run_in_process(go_on, args=(str(tmp_path), 1, 1))
    second = run_in_process(go_on, args=(str(tmp_path), 2, 1))
    third = run_in_process(go_on, args=(str(tmp_path), 1, 1))
    assert [each["before"] for each in (first, second, third)] == [0, 2, 4]
    assert second["found"] == first["left"] != second["left"]
    assert third["found"] == second["left"] != third["left"]
