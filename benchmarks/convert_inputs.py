"""What the converter's benchmark converts: records out of memory, and image files. No TensorFlow here."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from tfdml.data.format.features import Feature, Schema
from tfdml.data.inputs.input import Fragment, InputFile, Row

_DIFFERENT = 4000  # records; then they come again
_FRAGMENT_BYTES = 32_000_000


@lru_cache(1)
def different_records(size: int) -> list[bytes]:
    """Random bytes, which nothing can compress: `size` bytes at each of many places of one buffer."""
    noise = random.Random(0).randbytes(size + _DIFFERENT)
    return [noise[start : start + size] for start in range(_DIFFERENT)]


@dataclass(frozen=True)
class Records:
    """Serialised records of `size` bytes, as they are: nothing is encoded, which the other sides do not do either."""

    count: int
    size: int
    files: tuple[InputFile, ...] = ()
    schema: Schema = field(default_factory=lambda: {"x": Feature("tensor", "uint8", (None,))})

    def fragments(self) -> list[Fragment]:
        rows = max(1, _FRAGMENT_BYTES // self.size)
        return [
            Fragment(number, "memory", start, min(start + rows, self.count), rows * self.size)
            for number, start in enumerate(range(0, self.count, rows))
        ]

    def fragment_rows(self, fragment: Fragment) -> int:
        return fragment.stop - fragment.start

    def rows(self, fragment: Fragment) -> Iterator[Row]:
        records = different_records(self.size)
        for i in range(fragment.start, fragment.stop):
            yield Row(f"{i}", {}, "memory", "", records[i % _DIFFERENT])


def write_images(directory: Path, count: int, side: int) -> None:
    """`count` images of `side` x `side` pixels in 10 classes: grey PNG files as of digits, or JPEG photographs."""
    from PIL import Image

    generator = np.random.default_rng(side)
    for label in range(10):
        (directory / str(label)).mkdir(parents=True)
    for i in range(count):
        # Smooth, as images are: noise of a sixteenth of the size, enlarged.
        coarse = generator.integers(0, 256, [max(4, side // 16)] * 2 + [3], np.uint8)
        image = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        if side < 64:
            image.convert("L").save(directory / str(i % 10) / f"{i}.png")
        else:
            image.save(directory / str(i % 10) / f"{i}.jpg", quality=90)
