"""Small data sets of labelled images, written without the converter."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tfdml.data.format.dataset_manifest import DatasetManifest, Shard
from tfdml.data.format.example import Encoder
from tfdml.data.format.features import Feature
from tfdml.data.format.record_file import write_records
from tfdml.data.format.shards import shard_name

CLASS_NAMES = ("dark", "light", "mixed")


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def write_images(
    directory: Path,
    splits: Mapping[str, tuple[Sequence[np.ndarray], Sequence[int]]],
    *,
    shape: tuple[int | None, int | None, int],
    class_names: tuple[str, ...] = CLASS_NAMES,
    num_shards: int = 2,
    features: tuple[str, str] = ("image", "label"),
) -> Path:
    """A data set of PNG images; `splits` has (images, labels) of each."""
    directory.mkdir(parents=True, exist_ok=True)
    image, label = features
    schema = {
        "id": Feature("tensor", "int64"),
        image: Feature("image", shape=shape, encoding="png"),
        label: Feature("label", class_names=class_names),
    }
    encode = Encoder(schema)
    shards, histogram = {}, {}
    for split, (images, labels) in splits.items():
        records = [
            encode({"id": i, image: png(pixels), label: int(number)})
            for i, (pixels, number) in enumerate(zip(images, labels, strict=True))
        ]
        written = []
        for number in range(num_shards):
            file = shard_name("small", split, number, num_shards)
            part = records[number::num_shards]
            done = write_records(directory / file, part)
            written.append(Shard(file, len(part), done.bytes_written, done.crc32c))
        shards[split] = tuple(written)
        histogram[split] = {label: {int(n): labels.count(n) for n in sorted(set(labels))}}
    DatasetManifest("small", schema, shards, label_histogram=histogram).write(directory)
    return directory


def numbered(count: int, shape: tuple[int, int, int], first: int = 0) -> list[np.ndarray]:
    """Images of which the i-th has the value `first` + i everywhere but in one corner, which is 255."""
    images = [np.full(shape, first + i, np.uint8) for i in range(count)]
    for image in images:
        image[0, 0] = 255
    return images
