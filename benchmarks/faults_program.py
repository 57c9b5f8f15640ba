"""The job that faults.py disturbs: handwritten digits, and a model in which everything has state.

Every task notes what it trains in `log_directory`, one line of JSON for each step. Its last line says what came out.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfdml
from tfdml.data.format.record_file import write_records
from tfdml.data.order import Order
from tfdml.data.records import RecordSet
from tfdml.data.source import Source
from tfdml.testing import faults, weight_hash

PIXELS, CLASSES, TRAINED = 64, 10, 1437
GLOBAL_BATCH_SIZE = 50  # slices of 17, 17 and 16; the last batch of an epoch has 37 rows
SAVE_EVERY = (
    7  # steps; an odd number, so that saves fall into the middle of a window of accumulation
)
_WORDS = PIXELS + 2


def write_digits(directory: Path) -> None:
    """Records of int32 words: a number, 64 pixels, a label."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    rows = np.column_stack([np.arange(len(digits.target)), digits.data, digits.target])
    for split, part in (("train", rows[:TRAINED]), ("test", rows[TRAINED:])):
        records = [row.astype("<i4").tobytes() for row in part]
        write_records(directory / f"digits-{split}.tfrecord-00000-of-00001", records)


def make_source(directory: Path, split: str) -> Source:
    """Batches of ((ids, pixels), labels)."""

    def parse(records: tf.Tensor) -> Any:
        words = tf.ensure_shape(tf.io.decode_raw(records, tf.int32), [None, _WORDS])
        pixels = tf.cast(words[:, 1:-1], tf.float32) / 16.0
        return (words[:, 0], pixels), words[:, -1]

    records = RecordSet.open(directory, split)
    shuffle = "full" if split == "train" else "none"
    order = Order(records.num_records, GLOBAL_BATCH_SIZE, seed=3, shuffle=shuffle)
    return Source(records, order, parse)


class Classifier(keras.Model):
    """Dense layers, which notes the ids of the examples that it is trained on in `seen`."""

    def __init__(self, dropout_seed: int) -> None:
        super().__init__()
        layers = keras.layers
        self.seen: list[list[int]] = []
        self.network = keras.Sequential(
            [
                layers.Dense(128),
                layers.BatchNormalization(),
                layers.Activation("relu"),
                layers.Dropout(0.3, seed=dropout_seed),
                layers.Dense(64, "relu"),
                layers.BatchNormalization(),
                layers.Dense(CLASSES, dtype="float32"),
            ]
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        ids, pixels = inputs
        if training:
            tf.numpy_function(self._note, [ids], [])
        return self.network(pixels, training=training)

    def _note(self, ids: np.ndarray) -> None:
        self.seen.append(ids.tolist())


class StepLog(keras.callbacks.Callback):
    """Writes a line for each step: its number in the whole job, its examples, and when it was done."""

    def __init__(self, path: Path, seen: list[list[int]]) -> None:
        super().__init__()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._seen = seen
        self._step: int | None = None

    def write(self, **values: Any) -> None:
        os.write(self._file, f"{json.dumps(values)}\n".encode())

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._step is None:
            self._step = int(self.params["global_step"])
        self._seen.clear()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        assert self._step is not None
        (ids,) = self._seen
        self.write(step=self._step, time=time.time(), ids=ids)
        self._step += 1


def make_model(dropout_seed: int) -> Classifier:
    model = Classifier(dropout_seed)
    optimizer = tfdml.optimizers.DistributedOptimizer(
        keras.optimizers.AdamW(0.003, use_ema=True, ema_momentum=0.95),
        compression="int8",
        gradient_accumulation_steps=2,
        # Large and soon larger: the scale overflows now and then, and skipped steps are tried, too.
        initial_scale=2.0**16,
        dynamic_growth_steps=5,
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def main() -> None:
    entered = time.time()  # after all imports
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="of the job")
    parser.add_argument("--data", type=Path, required=True, help="what write_digits wrote")
    parser.add_argument("--launch", type=int, default=0, help="launchers before this one")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--dropout_seed", type=int, default=1)
    flags = parser.parse_args()

    faults.from_environment()  # what comes after some seconds counts them from here
    tfdml.determinism.enable(flags.directory)
    keras.utils.set_random_seed(2)
    keras.config.set_dtype_policy("mixed_float16")
    cluster = tfdml.cluster.resolve()
    strategy = tfdml.strategies.create("multi_worker", cluster)
    with strategy.scope():
        model = make_model(flags.dropout_seed)
    start = int(os.environ["TFDML_RESTART"])
    name = f"steps-{flags.launch}-{start}-{cluster.task_index}.jsonl"
    log = StepLog(flags.directory / name, model.seen)
    log.write(entered=entered, pid=os.getpid())
    trainer = tfdml.Trainer(model, strategy)
    backup = tfdml.callbacks.BackupAndRestore(
        flags.directory / "backup", save_freq=SAVE_EVERY, delete_checkpoint=False
    )
    trainer.fit(
        make_source(flags.data, "train"),
        epochs=flags.epochs,
        callbacks=[log, backup],
        verbose=False,
    )
    log.write(
        hash=weight_hash(model, include_optimizer=True),
        loss=trainer.evaluate(make_source(flags.data, "test"))["loss"],
        skipped=int(model.optimizer.skipped_steps.numpy()),
    )


if __name__ == "__main__":
    main()
