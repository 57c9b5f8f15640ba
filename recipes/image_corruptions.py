"""How well a classifier stands noise, blur and brightness: accuracy on test images that were changed so.

The changes and their five severities are those of Hendrycks and Dietterich 2019 (arXiv:1903.12261): for small images
those of CIFAR-10-C, for others those of ImageNet-C. What is drawn depends on the image alone, so every run and any
number of workers see the same images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfdml.data.augment import seeds
from tfdml.training import Slices, metrics_by_slice

SEVERITIES = (1, 2, 3, 4, 5)
_SMALL = 64  # pixels

# By severity: standard deviation and brightness as parts of 255, standard deviation in pixels.
_AMOUNTS = {
    "noise": {"small": (0.04, 0.06, 0.08, 0.09, 0.10), "large": (0.08, 0.12, 0.18, 0.26, 0.38)},
    "blur": {"small": (0.4, 0.6, 0.7, 0.8, 1.0), "large": (1.0, 2.0, 3.0, 4.0, 6.0)},
    "brightness": {"small": (0.05, 0.1, 0.15, 0.2, 0.3), "large": (0.1, 0.2, 0.3, 0.4, 0.5)},
}

# corruption -> severity -> accuracy
Accuracies = Mapping[str, Mapping[int, float]]


def accuracy_when_corrupted(
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    images: Any,
    corruptions: Sequence[str],
    severities: Sequence[int],
    global_batch_size: int,
) -> Accuracies:
    """Accuracy on the test images in each corruption and severity; the same on every task.

    Args:
        images: `tfdml.data.open_images` gives it.
        corruptions: of noise, blur and brightness.
        global_batch_size: images that the model sees at once; the corrupted ones of one image are in one batch.
    """
    versions = [(corruption, severity) for corruption in corruptions for severity in severities]
    data = images.evaluation(
        max(1, global_batch_size // len(versions)),
        augment=lambda image, seed: tf.stack([corrupt(image, seed, *each) for each in versions]),
    )
    with strategy.scope():
        several = _Versions(model, len(versions))
        several.compile(optimizer=None, steps_per_execution=model.steps_per_execution)

    def right(number: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        return lambda labels, logits: tf.equal(tf.argmax(logits[:, number], axis=-1), labels)

    everything = Slices(
        feature="corruption",
        names=["all"],
        number_of=lambda x, y: tf.zeros_like(y),
        values={str(number): right(number) for number in range(len(versions))},
    )
    found = metrics_by_slice(several, strategy, data, everything)["all"]
    accuracies: dict[str, dict[int, float]] = {name: {} for name in corruptions}
    for number, (corruption, severity) in enumerate(versions):
        accuracies[corruption][severity] = found[str(number)]
    return accuracies


class _Versions(keras.Model):
    """Images in several versions, [n, versions, height, width, channels], each through `model`."""

    def __init__(self, model: keras.Model, count: int):
        super().__init__(name=f"{model.name}_of_versions")
        self.model = model
        self.count = count

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        logits = self.model(tf.reshape(x, [-1, *x.shape[2:]]), training=training)
        return tf.reshape(logits, [-1, self.count, logits.shape[-1]])


def corrupt(image: tf.Tensor, seed: tf.Tensor, corruption: str, severity: int) -> tf.Tensor:
    """float32 [height, width, channels] in [0, 255] -> the same in whole numbers, as a file would keep it.

    Args:
        seed: int32 [2], of this image; only noise draws with it, other noise for each severity.
        severity: 1 to 5.
    """
    size = "small" if min(image.shape[:2]) < _SMALL else "large"
    amount = _AMOUNTS[corruption][size][severity - 1]
    if corruption == "noise":
        drawn = tf.random.stateless_normal(image.shape, seeds.fold(seed, severity))
        changed = image + 255 * amount * drawn
    elif corruption == "blur":
        changed = _blurred(image, amount)
    else:
        changed = _brighter(image, 255 * amount)
    return tf.round(tf.clip_by_value(changed, 0, 255))


def _blurred(image: tf.Tensor, deviation: float) -> tf.Tensor:
    """A Gaussian of `deviation` pixels; beyond its edges the image is mirrored."""
    height, width, channels = image.shape
    radius = min(math.ceil(3 * deviation), height - 1, width - 1)
    line = tf.exp(-0.5 * (tf.range(-radius, radius + 1, dtype=tf.float32) / deviation) ** 2)
    line /= tf.reduce_sum(line)
    padded = tf.pad(image, [[radius, radius], [radius, radius], [0, 0]], mode="REFLECT")
    x = padded[tf.newaxis]
    for shape in ([-1, 1, 1, 1], [1, -1, 1, 1]):
        kernel = tf.tile(tf.reshape(line, shape), [1, 1, channels, 1])
        x = tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "VALID")
    return tf.ensure_shape(x[0], image.shape)


def _brighter(image: tf.Tensor, by: float) -> tf.Tensor:
    if image.shape[-1] != 3:
        return image + by
    hue, saturation, value = tf.unstack(tf.image.rgb_to_hsv(image / 255), axis=-1)
    brighter = tf.minimum(value + by / 255, 1.0)
    return 255 * tf.image.hsv_to_rgb(tf.stack([hue, saturation, brighter], axis=-1))


# -- what is told of it


def mean_accuracy(accuracies: Accuracies) -> float:
    """Over all corruptions and severities, each as much as the others."""
    each = [value for by_severity in accuracies.values() for value in by_severity.values()]
    return sum(each) / len(each)


def as_slices(accuracies: Accuracies, clean: float, num_images: int) -> dict[str, dict[str, float]]:
    """One row for the images as they are and one for each corruption, as `run.report` takes them."""
    rows: dict[str, dict[str, float]] = {"none": {"examples": num_images, "accuracy": clean}}
    for name, by_severity in accuracies.items():
        mean = mean_accuracy({name: by_severity})
        rows[name] = {"examples": num_images, "accuracy": mean} | {
            f"severity {severity}": value for severity, value in by_severity.items()
        }
    return rows


def as_table(accuracies: Accuracies, clean: float) -> str:
    """For people: accuracy by corruption and severity."""
    severities = list(next(iter(accuracies.values())))
    head = ["corruption", "mean", *(f"severity {severity}" for severity in severities)]
    lines = [head, ["none", f"{clean:.4f}", *[""] * len(severities)]]
    for name, by_severity in accuracies.items():
        values = [mean_accuracy({name: by_severity}), *by_severity.values()]
        lines.append([name, *(f"{value:.4f}" for value in values)])
    return "\n".join(
        "  ".join([f"{line[0]:<10}", *(f"{text:>10}" for text in line[1:])]).rstrip()
        for line in lines
    )
