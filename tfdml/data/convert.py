"""Labelled images of any source -> TFRecord shards of a training and a test split."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tfdml.data.image_records import EncodedImage, serialise
from tfdml.data.manifest import FILE_NAME, Manifest
from tfdml.data.shards import write_shards
from tfdml.data.splits import stratified_split
from tfdml.errors import DataError

_ORDER_SEED = 0  # records are written shuffled, because sources come sorted by class


@dataclass(frozen=True)
class ImageSource:
    """Labelled images that are produced one by one, so that they need not fit into memory."""

    name: str
    class_names: tuple[str, ...]
    labels: Sequence[int]
    image: Callable[[int], EncodedImage]


class Progress(Protocol):
    """Passes items on while showing how far they are; `rich.progress.track` is one."""

    def __call__(self, items: Sequence[int], description: str) -> Iterable[int]: ...


def convert_images(
    source: ImageSource,
    output_dir: Path,
    *,
    num_shards: int,
    test_fraction: float,
    progress: Progress = lambda items, description: items,
) -> Manifest:
    """Write `source` into `output_dir`, the same bytes every time; the manifest comes last.

    Args:
        num_shards: of each split.
        test_fraction: of each class, in [0, 1); 0 writes no test split.

    Raises:
        DataError: for an output directory that holds a data set, or more shards than images.
    """
    if not 0 <= test_fraction < 1:
        raise DataError(f"`test_fraction` must be in [0, 1), got {test_fraction}.")
    if num_shards < 1:
        raise DataError(f"`num_shards` must be at least 1, got {num_shards}.")
    if (output_dir / FILE_NAME).exists():
        raise DataError(f"{output_dir} holds a data set already. Choose another directory.")
    train, test = stratified_split(source.labels, test_fraction)
    splits = {"train": train, "test": test} if test_fraction else {"train": train}
    for split, indices in splits.items():
        if len(indices) < num_shards:
            raise DataError(
                f"`num_shards` is {num_shards}, but the {split} split has {len(indices)} images."
            )
    shapes: set[tuple[int, int, int]] = set()
    shard_lengths = {}
    for split, indices in splits.items():
        random.Random(_ORDER_SEED).shuffle(indices)
        records = _records(source, progress(indices, f"{source.name} {split}"), shapes)
        lengths = write_shards(output_dir, source.name, split, records, num_shards)
        shard_lengths[split] = tuple(lengths)
    manifest = Manifest(source.name, source.class_names, _common(shapes), shard_lengths)
    manifest.write(output_dir)
    return manifest


def _records(
    source: ImageSource, indices: Iterable[int], shapes: set[tuple[int, int, int]]
) -> Iterator[bytes]:
    for index in indices:
        image = source.image(index)
        shapes.add((image.height, image.width, image.channels))
        yield serialise(image, source.labels[index])


def _common(shapes: set[tuple[int, int, int]]) -> tuple[int | None, int | None, int]:
    """The shape that all images share; a mixture of grey and colour is read as colour."""
    heights, widths, channels = (set(sizes) for sizes in zip(*shapes, strict=True))
    return (
        heights.pop() if len(heights) == 1 else None,
        widths.pop() if len(widths) == 1 else None,
        1 if channels == {1} else 3,
    )
