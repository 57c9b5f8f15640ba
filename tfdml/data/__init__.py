"""Data sets as TFRecord shards: writing them, and reading them into training.

Names load on first use; those of `order` and `records` come without TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Cutmix": "augment.pairs",
    "ImageAugmentation": "augment.settings",
    "ImageDataset": "images.image_dataset",
    "Mixture": "mixture",
    "Mixup": "augment.pairs",
    "Order": "order",
    "PackedRecords": "packing",
    "Padded": "batching",
    "RecordSet": "records",
    "Slice": "order",
    "Source": "source",
    "TextSettings": "text.prepare",
    "TextTokenizer": "text.bpe",
    "TableSettings": "tables.settings",
    "TrainedTable": "tables.facts",
    "WindowSettings": "tables.settings",
    "default_target": "tables.prepare",
    "measure_lengths": "packing",
    "open_images": "images.image_dataset",
    "open_interactions": "interactions.dataset",
    "open_text": "text.dataset",
    "open_table": "tables.dataset",
    "open_table_like": "tables.dataset",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"tfdml.data.{_HOME[name]}"), name)
    raise AttributeError(f"module 'tfdml.data' has no attribute {name!r}")
