"""Small data sets for tests, written as the converter writes them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from tfdml.data.format.dataset_manifest import DatasetManifest, Shard
from tfdml.data.format.example import encode
from tfdml.data.format.features import Feature, Schema
from tfdml.data.format.index import Index, index_name
from tfdml.data.format.record_file import write_records
from tfdml.data.format.shards import shard_name
from tfdml.data.format.statistics import RowStatistics
from tfdml.data.format.tfds_layout import tfds_files

LABELS = ("cat", "dog", "owl")
SCHEMA: Schema = {
    "image": Feature("image", shape=(2, None, 1), encoding="png"),
    "label": Feature("label", class_names=LABELS),
    "text": Feature("text"),
    "x": Feature("tensor", "float32", (3,)),
}


def png(height: int, width: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((height, width), width, np.uint8)).save(file, "png")
    return file.getvalue()


def row(i: int) -> dict:
    return {
        "image": png(2, 3 + i % 4),
        "label": i % len(LABELS),
        "text": f"téxt {i}".encode(),
        "x": np.array([i, 0.5, -1], np.float32),
    }


def write_directory(
    directory: Path, splits: dict[str, int], compression: str = ""
) -> DatasetManifest:
    """A data set `toy` of two shards a split, with index files, side files and a manifest."""
    directory.mkdir(parents=True, exist_ok=True)
    shards, statistics = {}, {}
    for split, count in splits.items():
        of_split, collected = [], RowStatistics(SCHEMA)
        for row_number in range(count):
            collected.add(row(row_number))
        for number in range(2):
            rows = [row(i) for i in range(number, count, 2)]
            file = shard_name("toy", split, number, 2)
            written = write_records(
                directory / file, [encode(each, SCHEMA) for each in rows], compression
            )
            Index(
                written.offsets,
                written.bytes_written,
                np.array([each["label"] for each in rows], np.int32),
                bool(compression),
            ).write(directory / index_name(file))
            of_split.append(Shard(file, len(rows), written.bytes_written, written.crc32c))
        shards[split], statistics[split] = tuple(of_split), collected.finish()
    manifest = DatasetManifest(
        "toy",
        SCHEMA,
        shards,
        compression,
        label_histogram={split: each.histogram for split, each in statistics.items()},
        statistics={split: each.measures for split, each in statistics.items()},
        flags={"num_shards": "2"},
        licence="CC0",
    )
    for name, content in tfds_files(manifest).items():
        (directory / name).write_bytes(content)
    manifest.write(directory)
    return manifest
