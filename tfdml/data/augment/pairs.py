"""Mixup and cutmix: each row of a batch mixed with another row of the same global batch.

Which row is a pure function of the step, the same on every worker, so the batch does not depend on how
many workers share it. A worker reads the partners of its rows too, which may be another's rows: a pair
costs two reads and two augmentations per row. (Keras's MixUp and CutMix shuffle the rows that they are
given: with two workers they would mix within each half.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import tensorflow as tf

from tfdml.data.augment import seeds
from tfdml.errors import ConfigError

Example = tuple[tf.Tensor, tf.Tensor]


class Pair(Protocol):
    """What a Source needs to know of a way to mix two records. Without state."""

    def partner_rows(self, rows: tf.Tensor, global_rows: Any, seed: tf.Tensor) -> tf.Tensor:
        """For `rows` [n] of a global batch of `global_rows`: the row that each is mixed with, [n].

        Args:
            seed: of the step (`seeds.step_seed`), int32 [2].
        """

    def mix(self, example: Any, partner: Any, seed: tf.Tensor) -> Any:
        """Of one record and its partner, both as they are without mixing.

        Args:
            seed: of the record (`seeds.record_seed`), int32 [2].
        """


class _RotatedPartners:
    """Row i is mixed with row i + shift: another row always, each other one equally likely.

    The rows themselves are in a random order, so nothing more random is needed; and a rotation is one
    number, where a permutation would have to be made whole on every worker.
    """

    def partner_rows(self, rows: tf.Tensor, global_rows: Any, seed: tf.Tensor) -> tf.Tensor:
        rows = tf.convert_to_tensor(rows)
        global_rows = tf.cast(global_rows, rows.dtype)
        # A batch of one row is its own partner.
        limit = tf.maximum(global_rows, 2)
        one = tf.ones([], rows.dtype)
        shift = tf.random.stateless_uniform([], seed, minval=one, maxval=limit, dtype=rows.dtype)
        return (rows + shift) % global_rows


@dataclass(frozen=True)
class Mixup(_RotatedPartners):
    """Weighted means of images and of their labels (Zhang et al. 2017, arXiv:1710.09412).

    The weight is drawn from Beta(alpha, alpha) for each record. Of (image float32 [h, w, c], label)
    it makes (image, float32 [num_classes]); a label is an integer, or such a vector already.
    """

    alpha: float
    num_classes: int

    def __post_init__(self) -> None:
        _check(self.alpha, self.num_classes)

    def mix(self, example: Example, partner: Example, seed: tf.Tensor) -> Example:
        weight = _beta(self.alpha, seed)
        image = weight * example[0] + (1 - weight) * partner[0]
        return image, _mixed_labels(example, partner, weight, self.num_classes)


@dataclass(frozen=True)
class Cutmix(_RotatedPartners):
    """A box of the partner's image pasted in; labels by area (Yun et al. 2019, arXiv:1905.04899).

    The part of the image that is kept is drawn from Beta(alpha, alpha) for each record, the centre of the
    box uniformly; what sticks out is cut off, and labels are weighted by what is left of the box. Both
    images must have one shape.
    """

    alpha: float
    num_classes: int

    def __post_init__(self) -> None:
        _check(self.alpha, self.num_classes)

    def mix(self, example: Example, partner: Example, seed: tf.Tensor) -> Example:
        height, width = tf.shape(example[0])[0], tf.shape(example[0])[1]
        side = tf.sqrt(1 - _beta(self.alpha, seed))
        centre = tf.random.stateless_uniform([2], seeds.fold(seed, _CENTRE))
        rows = _within(height, centre[0], side)
        columns = _within(width, centre[1], side)
        inside = rows[:, tf.newaxis] & columns[tf.newaxis, :]
        image = tf.where(inside[:, :, tf.newaxis], partner[0], example[0])
        weight = 1 - tf.reduce_mean(tf.cast(inside, tf.float32))
        return image, _mixed_labels(example, partner, weight, self.num_classes)


@dataclass(frozen=True)
class Either(_RotatedPartners):
    """Each record by one of two ways, by one as often as by the other."""

    first: Pair
    second: Pair

    def mix(self, example: Any, partner: Any, seed: tf.Tensor) -> Any:
        coin = tf.random.stateless_uniform([], seeds.fold(seed, _COIN)) < 0.5
        return tf.cond(
            coin,
            lambda: self.first.mix(example, partner, seed),
            lambda: self.second.mix(example, partner, seed),
        )


# Which draw of a record's seed is for what; the augmentation of the record itself draws with low numbers.
_WEIGHT, _OTHER_WEIGHT, _CENTRE, _COIN = range(1000, 1004)


def _check(alpha: float, num_classes: int) -> None:
    if not alpha > 0:
        raise ConfigError(
            f"`alpha` must be positive, got {alpha}. Use 0.2 for mixup, 1.0 for cutmix; small values mix "
            "little."
        )
    if num_classes < 1:
        raise ConfigError(f"`num_classes` must be at least 1, got {num_classes}.")


def _beta(alpha: float, seed: tf.Tensor) -> tf.Tensor:
    """One draw of Beta(alpha, alpha), float32: X / (X + Y) of two gamma variables."""
    first, second = (_log_gamma(alpha, seeds.fold(seed, draw)) for draw in (_WEIGHT, _OTHER_WEIGHT))
    return tf.cast(tf.sigmoid(first - second), tf.float32)


def _log_gamma(alpha: float, seed: tf.Tensor) -> tf.Tensor:
    """The logarithm of one draw of Gamma(alpha).

    As Gamma(alpha + 1) U^(1 / alpha): with a small alpha most draws are too small for any float, and
    their ratio would be 0 / 0.
    """
    larger = tf.random.stateless_gamma([], seeds.fold(seed, 0), alpha + 1, dtype=tf.float64)
    uniform = 1 - tf.random.stateless_uniform([], seeds.fold(seed, 1), dtype=tf.float64)
    return tf.math.log(larger) + tf.math.log(uniform) / alpha


def _mixed_labels(
    example: Example, partner: Example, weight: tf.Tensor, num_classes: int
) -> tf.Tensor:
    one, other = (_one_hot(label, num_classes) for label in (example[1], partner[1]))
    return weight * one + (1 - weight) * other


def _one_hot(label: tf.Tensor, num_classes: int) -> tf.Tensor:
    return label if label.dtype.is_floating else tf.one_hot(label, num_classes)


def _within(size: tf.Tensor, centre: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """bool [size]: the pixels of one axis inside the box; `centre` and `side` are parts of `size`."""
    length = tf.cast(size, tf.float32)
    low = tf.round((centre - side / 2) * length)
    high = tf.round((centre + side / 2) * length)
    pixels = tf.range(length)
    return (pixels >= low) & (pixels < high)
