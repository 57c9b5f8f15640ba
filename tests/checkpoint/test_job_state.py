"""What is no variable of the model: callbacks, and the position of a plain tf.data pipeline."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.checkpoint.jobs import at
from tfdml.checkpoint import Contents, Snapshots
from tfdml.checkpoint.callback_state import capture_callbacks, restore_callbacks
from tfdml.checkpoint.iterator_state import iterator_bytes, load_iterator
from tfdml.errors import ConfigError, DataError

LOSSES = [3.0, 1 / 3, 2.0, np.float32(0.7), 0.5, 0.6, 0.7, 0.8]


class Counts(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.count = 0

    def on_epoch_end(self, epoch, logs=None):
        self.count += 1

    def get_state(self):
        return {"count": self.count}

    def set_state(self, state):
        self.count = state["count"]


def make_model():
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    return model


def make_callbacks(directory):
    return [
        keras.callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("loss", patience=2, cooldown=1),
        keras.callbacks.ModelCheckpoint(directory / "a.keras", "loss", save_best_only=True),
        Counts(),
        keras.callbacks.History(),
    ]


def run_epochs(model, callbacks, epochs, found=None):
    """The losses are given, so that only the callbacks' state decides what they do."""
    for callback in callbacks:
        callback.set_model(model)
        callback.set_params({"epochs": 8})
        callback.on_train_begin()
    if found is not None:
        restore_callbacks(callbacks, found.document("callbacks"), found.arrays("callbacks"))
    for epoch in epochs:
        model.layers[0].kernel.assign(np.full((2, 1), float(epoch)))
        for callback in callbacks:
            callback.on_epoch_begin(epoch)
            callback.on_epoch_end(epoch, {"loss": LOSSES[epoch]})


def state_of(callbacks):
    stop, plateau, best, counts, history = callbacks
    return {
        "stop": (stop.wait, stop.best, stop.best_epoch, [w.tolist() for w in stop.best_weights]),
        "plateau": (plateau.wait, plateau.best, plateau.cooldown_counter),
        "best": best.best,
        "counts": counts.count,
        "history": (history.history, history.epoch),
    }


@pytest.mark.parametrize("epochs_before", [1, 3, 5])
def test_callbacks_go_on_where_they_were(tmp_path, epochs_before):
    whole, model = make_callbacks(tmp_path), make_model()
    run_epochs(model, whole, range(8))
    first, again = make_callbacks(tmp_path), make_model()
    run_epochs(again, first, range(epochs_before))
    rate = again.optimizer.learning_rate.numpy()
    document, arrays = capture_callbacks(first)
    snapshots = Snapshots(tmp_path / "job")
    snapshots.save(at(1), Contents(arrays={"callbacks": arrays}, documents={"callbacks": document}))
    second, later = make_callbacks(tmp_path), make_model()
    later.optimizer.learning_rate.assign(rate)
    run_epochs(later, second, range(epochs_before, 8), snapshots.restore().chief)
    assert state_of(second) == state_of(whole)
    assert later.optimizer.learning_rate.numpy() == model.optimizer.learning_rate.numpy() < 1.0


def test_other_callbacks_than_before_are_named(tmp_path, caplog):
    callbacks = make_callbacks(tmp_path)
    document, arrays = capture_callbacks(callbacks[:1])
    restore_callbacks(callbacks[1:3], document, arrays)
    assert "state of EarlyStopping, which is not among the callbacks" in caplog.text
    assert "no state of ReduceLROnPlateau, which begins anew" in caplog.text


def test_a_log_that_is_no_number_is_refused():
    history = keras.callbacks.History()
    history.history = {"odd": [object()]}
    history.epoch = [0]
    with pytest.raises(ConfigError, match="must be numbers, got object"):
        capture_callbacks([history])


def pipeline(seed=3):
    return tf.data.Dataset.range(50).shuffle(20, seed=seed).map(lambda x: x * 2).batch(3).repeat(2)


@pytest.mark.parametrize("taken", [0, 5, 16, 17, 20])
def test_a_pipeline_goes_on_where_it_was(tmp_path, taken):
    whole = [batch.tolist() for batch in pipeline().as_numpy_iterator()]
    iterator = iter(pipeline())
    for _ in range(taken):
        next(iterator)
    snapshots = Snapshots(tmp_path)
    snapshots.save(at(1), Contents(blobs={"iterator": iterator_bytes(iterator)}))
    other = iter(pipeline())
    next(other)
    load_iterator(other, snapshots.restore().chief.blob("iterator"))
    assert [batch.numpy().tolist() for batch in other] == whole[taken:]


def test_a_pipeline_that_cannot_be_saved_is_refused():
    def numbers():
        yield from range(9)

    data = tf.data.Dataset.from_generator(numbers, output_signature=tf.TensorSpec([], tf.int64))
    iterator = iter(data)
    next(iterator)
    with pytest.raises(DataError, match=r"the position of this tf\.data pipeline cannot be saved"):
        iterator_bytes(iterator)


def test_another_pipeline_is_refused():
    state = iterator_bytes(iter(pipeline()))
    other = iter(tf.data.Dataset.range(9).batch(2).prefetch(1))
    with pytest.raises(DataError, match=r"does not fit this tf\.data pipeline"):
        load_iterator(other, state)
