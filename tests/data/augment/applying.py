"""Augmentations applied as a Source applies them: inside tf.data, one seed per record and epoch."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfdml.data.augment import seeds


def augmented(augmentation, images, *, epoch=0, source_seed=0, ids=None, batched=0) -> np.ndarray:
    """The images of an epoch, in the order of their ids.

    Args:
        images: uint8 or float32 [n, height, width, channels], record i at i modulo n.
        ids: record ids; else all.
        batched: so many records inside one call of a map's function, by `tf.map_fn`; 0 is one at a time.
    """
    ids = np.arange(len(images)) if ids is None else np.asarray(ids)
    images = tf.constant(images, tf.float32)

    def one(record_id):
        seed = seeds.record_seed(source_seed, epoch, record_id)
        return augmentation(images[record_id % len(images)], seed)

    data = tf.data.Dataset.from_tensor_slices(ids.astype(np.int64))
    if not batched:
        return np.stack(list(data.map(one, 2).as_numpy_iterator()))
    spec = data.map(one).element_spec
    data = data.batch(batched).map(
        lambda part: tf.map_fn(one, part, fn_output_signature=spec, parallel_iterations=4), 2
    )
    return np.concatenate(list(data.as_numpy_iterator()))


def photographs(number: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    """float32 images of whole numbers, with structure and all values from 0 to 255."""
    random = np.random.default_rng(7)
    y, x = np.mgrid[:height, :width]
    waves = random.uniform(0.1, 0.6, (number, 1, 1, channels))
    smooth = np.sin(waves * y[None, :, :, None]) * np.cos(waves * x[None, :, :, None])
    noise = random.normal(0, 0.2, (number, height, width, channels))
    return np.clip(np.rint(127.5 + 127.5 * (smooth + noise)), 0, 255).astype(np.float32)
