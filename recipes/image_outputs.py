"""What is made of an image classifier's logits: metrics by class, rows of predictions, answers to encoded images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdml.errors import DataError
from tfdml.export import Endpoint
from tfdml.training import Slices

_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")


def by_label(class_names: Sequence[str]) -> Slices:
    """Accuracy and loss for each class; labels are numbers, or vectors where training mixes images."""

    def number(y: tf.Tensor) -> tf.Tensor:
        return y if y.shape.rank == 1 else tf.argmax(y, axis=-1)

    return Slices(
        feature="label",
        names=list(class_names),
        number_of=lambda x, y: number(y),
        values={
            "accuracy": lambda y, logits: tf.equal(
                tf.argmax(logits, axis=-1), tf.cast(number(y), tf.int64)
            ),
            "loss": lambda y, logits: keras.losses.sparse_categorical_crossentropy(
                number(y), logits, from_logits=True
            ),
        },
    )


def predictions(
    class_names: Sequence[str], files: Sequence[str] | None
) -> Callable[[np.ndarray], Mapping[str, Sequence[Any]]]:
    """Logits [n, classes] -> columns of n: the file, where there are files, the likeliest class, its probability."""

    def columns(logits: np.ndarray) -> Mapping[str, Sequence[Any]]:
        likelihoods = np.exp(logits - logits.max(axis=-1, keepdims=True))
        likelihoods /= likelihoods.sum(axis=-1, keepdims=True)
        best = likelihoods.argmax(axis=-1)
        first = {"row": np.arange(len(best))} if files is None else {"file": files}
        return {
            **first,
            "class": np.asarray(class_names)[best],
            "probability": likelihoods.max(axis=-1).round(6),
        }

    return columns


def image_files(pattern: str) -> list[str]:
    """The files that a pattern, a directory or a name stands for, by name.

    Raises:
        DataError: there is none.
    """
    path = Path(pattern).expanduser()
    found = sorted(
        str(file)
        for file in (path.iterdir() if path.is_dir() else path.parent.glob(path.name))
        if file.suffix.lower() in _IMAGE_ENDINGS
    )
    if not found:
        raise DataError(
            f"--predict_input={pattern}: no image files. Give a directory or a pattern in quotes "
            f"({', '.join(_IMAGE_ENDINGS)}), or shards that `tfdml convert` wrote."
        )
    return found


def images_in(files: Sequence[str], images: Any, global_batch_size: int) -> tf.data.Dataset:
    """Batches of the files' images, as the model takes them: float32 [n, height, width, channels]."""

    def decode(file: tf.Tensor) -> tf.Tensor:
        image = images.layout.decode(tf.io.read_file(file), images.image_shape[:2])
        return tf.cast(image, tf.float32)

    dataset = tf.data.Dataset.from_tensor_slices(list(files)).map(decode, tf.data.AUTOTUNE)
    return dataset.batch(global_batch_size)


def encoded_images(image_shape: tuple[int, int, int], class_names: Sequence[str]) -> Endpoint:
    """Files of images, string [n] -> {"class": string [n], "probabilities": float32 [n, classes]}.

    Images are decoded and resized as in training.
    """
    height, width, channels = image_shape

    def decode(encoded: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_image(encoded, channels=channels, expand_animations=False)
        image.set_shape([None, None, channels])
        resized = tf.image.resize(image, [height, width], antialias=True)
        return tf.ensure_shape(tf.clip_by_value(resized, 0, 255), image_shape)

    def classify(model: keras.Model, encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.map_fn(decode, encoded, fn_output_signature=tf.float32)
        probabilities = tf.nn.softmax(model(images, training=False))
        best = tf.argmax(probabilities, axis=-1)
        return {
            "class": tf.gather(tf.constant(list(class_names)), best),
            "probabilities": probabilities,
        }

    return Endpoint(classify, [tf.TensorSpec([None], tf.string, name="encoded")])
