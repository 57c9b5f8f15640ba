"""D9 and D10: BackupAndRestore loses state, and Keras's writers do not know who is chief."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from tests.upstream.pinned import still_broken, still_raises
from tfdml.testing import current_task, run_in_process, run_workers

pytestmark = pytest.mark.upstream
CHECKPOINT = "tfdml/checkpoint/"
TRAINER = "tfdml/training/callbacks.py"


def fit_until(directory, crash_at, epochs=2):
    """Four batches an epoch; stops like a crash after (epoch, batch); returns the batches seen."""
    import keras

    class Crash(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.epoch, self.seen = 0, []

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_end(self, batch, logs=None):
            self.seen.append((self.epoch, batch))
            if (self.epoch, batch) == crash_at:
                raise KeyboardInterrupt

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer="adam", loss="mse")
    backup = keras.callbacks.BackupAndRestore(directory, save_freq=1, delete_checkpoint=False)
    crash = Crash()
    with contextlib.suppress(KeyboardInterrupt):
        model.fit(
            np.ones((8, 2)),
            np.ones((8, 1)),
            batch_size=2,
            epochs=epochs,
            callbacks=[backup, crash],
            verbose=0,
        )
    return crash.seen


def save_twice(directory):
    """Inode numbers of the metadata after two saves: equal if it is written in place."""
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    backup = keras.callbacks.BackupAndRestore(directory)
    backup.set_model(model)
    metadata = Path(directory, "training_metadata.json")
    inodes = []
    for epoch in range(2):
        backup.on_epoch_end(epoch)
        inodes.append(metadata.stat().st_ino)
    return inodes, sorted(path.name for path in Path(directory).iterdir())


def write_on_every_worker(directory):
    import keras
    import tensorflow as tf

    own = Path(directory, str(current_task()[1]))
    own.mkdir()
    with tf.distribute.MultiWorkerMirroredStrategy().scope():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile(optimizer="sgd", loss="mse")
    checkpoint = keras.callbacks.ModelCheckpoint(
        str(own / "model.weights.h5"), save_weights_only=True
    )
    board = keras.callbacks.TensorBoard(str(own / "board"), write_graph=False)
    for callback in (checkpoint, board):
        callback.set_params({"epochs": 1, "steps": 1})
        callback.set_model(model)
        callback.on_train_begin()
        callback.on_epoch_begin(0)
        callback.on_epoch_end(0, {"loss": 1.0})
        callback.on_train_end()
    return sorted({path.name.split(".")[0] for path in own.rglob("*") if path.is_file()})


def test_a_restart_trains_part_of_the_epoch_twice(tmp_path):
    first = run_in_process(fit_until, args=(str(tmp_path), (1, 1)))
    assert first[-1] == (1, 1)
    second = run_in_process(fit_until, args=(str(tmp_path), None))
    still_broken("D9", CHECKPOINT, broken=second[0] == (1, 0))


def test_a_second_failure_forgets_the_epoch(tmp_path):
    run_in_process(fit_until, args=(str(tmp_path), (1, 1)))
    run_in_process(fit_until, args=(str(tmp_path), (1, 2)))
    third = run_in_process(fit_until, args=(str(tmp_path), (0, 0)))
    still_broken("D9", CHECKPOINT, broken=third == [(0, 0)])


def test_truncated_metadata_is_not_survived(tmp_path):
    run_in_process(fit_until, args=(str(tmp_path), (0, 1)))
    metadata = Path(tmp_path, "training_metadata.json")
    metadata.write_text(metadata.read_text()[:5])
    with still_raises("D9", CHECKPOINT, match="JSONDecodeError"):
        run_in_process(fit_until, args=(str(tmp_path), None))


def test_files_are_written_in_place_and_hold_weights_only(tmp_path):
    (first, second), names = run_in_process(save_twice, args=(str(tmp_path),))
    broken = first == second and names == ["latest.weights.h5", "training_metadata.json"]
    still_broken("D9", CHECKPOINT, broken=broken)


def test_every_worker_writes(tmp_path):
    chief, other = run_workers(write_on_every_worker, args=(str(tmp_path),))
    assert chief == ["events", "model"]
    still_broken("D10", TRAINER, broken=other == chief)
