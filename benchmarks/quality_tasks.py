"""The two tasks of quality.py: digits of scikit-learn, and the sources of Python's standard library."""

from __future__ import annotations

import math
import sysconfig
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfdml


class Task:
    """A model, its data, and a score.

    Attributes:
        seeds: one run each.
        clipnorm: limit of the norm of all gradients together, or None.
    """

    name: str
    unit: str
    seeds: range
    clipnorm: float | None = None

    def make_model(self) -> keras.Model:
        raise NotImplementedError

    def make_optimizer(self, momentum: float, clipnorm: float | None) -> keras.optimizers.SGD:
        """SGD, because the theory of most compressions is about it, and DGC is a variant of it."""
        raise NotImplementedError

    def compile(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        raise NotImplementedError

    def score(self, trainer: tfdml.Trainer, seed: int) -> float:
        """Train and test."""
        raise NotImplementedError

    def loss(self, value: float, dense: float) -> float:
        """What a score loses against that of dense training, in `unit`."""
        raise NotImplementedError


class Digits(Task):
    """1,797 images of 8 x 8: five folds, a small convolutional network, SGD with momentum."""

    name = "digits"
    unit = "points"

    def __init__(self, quick: bool):
        from sklearn.datasets import load_digits
        from sklearn.model_selection import StratifiedKFold

        x, y = load_digits(return_X_y=True)
        self._x = (x.reshape(-1, 8, 8, 1) / 16.0).astype("float32")
        self._y = y.astype("int32")
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        self._folds = list(folds.split(self._x, self._y))
        self.seeds = range(1 if quick else 5)
        self._epochs = 4 if quick else 12

    def make_model(self) -> keras.Model:
        layers = keras.layers
        return keras.Sequential(
            [
                layers.Input((8, 8, 1)),
                layers.Conv2D(16, 3, padding="same", activation="gelu"),
                layers.Conv2D(32, 3, strides=2, padding="same", activation="gelu"),
                layers.Conv2D(64, 3, strides=2, padding="same", activation="gelu"),
                layers.Flatten(),
                layers.Dense(64, activation="gelu"),
                layers.Dense(10),
            ]
        )

    def make_optimizer(self, momentum: float, clipnorm: float | None) -> keras.optimizers.SGD:
        return keras.optimizers.SGD(0.05, momentum, global_clipnorm=clipnorm)

    def compile(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, metrics=["accuracy"], steps_per_execution=16)

    def score(self, trainer: tfdml.Trainer, seed: int) -> float:
        train, test = self._folds[seed]
        data = tf.data.Dataset.from_tensor_slices((self._x[train], self._y[train]))
        data = data.shuffle(len(train), seed=seed).batch(64, drop_remainder=True)
        trainer.fit(data, epochs=self._epochs, verbose=False)
        held_out = tf.data.Dataset.from_tensor_slices((self._x[test], self._y[test])).batch(128)
        return 100 * trainer.evaluate(held_out)["accuracy"]

    def loss(self, value: float, dense: float) -> float:
        return dense - value


class Language(Task):
    """Bytes of Python's standard library: a Transformer of 0.3 M parameters, 300 steps, clipped SGD."""

    name = "language"
    unit = "% bits/byte"
    clipnorm = 1.0
    length = 64
    width, heads, blocks = 96, 4, 2

    def __init__(self, quick: bool):
        sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
        # Every tenth file is held out.
        train = b"".join(p.read_bytes() for n, p in enumerate(sources) if n % 10)
        test = b"".join(p.read_bytes() for n, p in enumerate(sources) if n % 10 == 0)
        self._train = np.frombuffer(train[:3_000_000], np.uint8)
        self._test = np.frombuffer(test[:100_000], np.uint8)
        self.seeds = range(1 if quick else 3)
        self._steps = 60 if quick else 300

    def make_model(self) -> keras.Model:
        layers = keras.layers
        inputs = layers.Input((self.length,), dtype="int32")
        x = layers.Embedding(256, self.width)(inputs)
        x += layers.Embedding(self.length, self.width)(keras.ops.arange(self.length))
        for _ in range(self.blocks):
            y = layers.LayerNormalization()(x)
            y = layers.MultiHeadAttention(self.heads, self.width // self.heads)(
                y, y, use_causal_mask=True
            )
            x += y
            y = layers.LayerNormalization()(x)
            y = layers.Dense(4 * self.width, activation="gelu")(y)
            x += layers.Dense(self.width)(y)
        return keras.Model(inputs, layers.Dense(256)(layers.LayerNormalization()(x)))

    def make_optimizer(self, momentum: float, clipnorm: float | None) -> keras.optimizers.SGD:
        decay = keras.optimizers.schedules.CosineDecay(0.3, self._steps)
        return keras.optimizers.SGD(decay, momentum, global_clipnorm=clipnorm)

    def compile(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, steps_per_execution=20)

    def score(self, trainer: tfdml.Trainer, seed: int) -> float:
        generator = np.random.default_rng(seed)
        starts = generator.integers(0, len(self._train) - self.length - 1, self._steps * 32)
        trainer.fit(self._batches(self._train, starts), verbose=False)
        every = np.arange(0, len(self._test) - self.length - 1, self.length)
        return trainer.evaluate(self._batches(self._test, every))["loss"] / math.log(2)

    def loss(self, value: float, dense: float) -> float:
        return 100 * (value - dense) / dense

    def _batches(self, text: Any, starts: Any) -> tf.data.Dataset:
        windows = np.stack([text[s : s + self.length + 1] for s in starts]).astype("int32")
        return tf.data.Dataset.from_tensor_slices((windows[:, :-1], windows[:, 1:])).batch(32)


TASKS = {task.name: task for task in (Digits, Language)}
