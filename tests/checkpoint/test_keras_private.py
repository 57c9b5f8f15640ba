"""Notices when Keras renames the counters of callbacks that a snapshot holds."""

from __future__ import annotations

import keras
import pytest

from tfdml.checkpoint.callback_state import _NUMBERS


@pytest.mark.parametrize(
    "callback",
    [
        keras.callbacks.EarlyStopping("loss"),
        keras.callbacks.ReduceLROnPlateau("loss"),
        keras.callbacks.ModelCheckpoint("a.keras"),
        keras.callbacks.TensorBoard(),
        keras.callbacks.SwapEMAWeights(),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_the_names_are_there_when_training_begins(callback, tmp_path):
    if isinstance(callback, keras.callbacks.TensorBoard):
        callback.log_dir = str(tmp_path)
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(use_ema=True), "mse")
    callback.set_model(model)
    callback.on_train_begin()
    (names,) = [names for kind, names in _NUMBERS.items() if isinstance(callback, kind)]
    assert [name for name in names if not hasattr(callback, name)] == []
    callback.on_train_end()
