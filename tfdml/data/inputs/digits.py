"""scikit-learn's bundled handwritten digits: 1,797 real images of 8x8 pixels, no download.

Their origin: Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak; UCI, 1998).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tfdml.data.format.features import Feature, make_schema
from tfdml.data.images.splits import stratified_split
from tfdml.data.inputs.columns import chosen
from tfdml.data.inputs.images import encode_png
from tfdml.data.inputs.input import Fragment, InputFile, Row
from tfdml.data.inputs.options import InputOptions
from tfdml.errors import ConfigError, DataError

TEST_FRACTION = 0.2  # every fifth of each class
_FRAGMENT_ROWS = 600


class Digits:
    """Features: image (grey PNG) and label; each row is in the split `train` or `test`."""

    files: tuple[InputFile, ...] = ()

    def __init__(self, patterns: Sequence[str], options: InputOptions):
        if any(patterns):
            raise ConfigError(
                "--format=digits needs no --input; the digits come with scikit-learn."
            )
        features = {
            "image": Feature("image", shape=(8, 8, 1), encoding="png"),
            "label": Feature("label", class_names=tuple("0123456789")),
        }
        names = chosen(tuple(features), options, "digits")
        self.schema = make_schema((name, features[name]) for name in names)
        _, labels = _load()
        self._num_rows = len(labels)
        self._test = frozenset(stratified_split(labels, TEST_FRACTION)[1])

    def fragments(self) -> list[Fragment]:
        starts = range(0, self._num_rows, _FRAGMENT_ROWS)
        stops = [min(start + _FRAGMENT_ROWS, self._num_rows) for start in starts]
        return [
            Fragment(number, "digits", start, stop, (stop - start) * 64)
            for number, (start, stop) in enumerate(zip(starts, stops, strict=True))
        ]

    def fragment_rows(self, fragment: Fragment) -> int:
        return fragment.stop - fragment.start

    def keys_and_labels(self, fragment: Fragment) -> Iterator[tuple[str, int]]:
        labels = _load()[1]
        for index in range(fragment.start, fragment.stop):
            yield f"digits#{index}", labels[index]

    def split_bytes(self) -> dict[str, int]:
        test = len(self._test)
        return {"train": 64 * (self._num_rows - test), "test": 64 * test}

    def rows(self, fragment: Fragment) -> Iterator[Row]:
        pixels, labels = _load()
        for index in range(fragment.start, fragment.stop):
            values = {"image": encode_png(pixels[index]), "label": labels[index]}
            yield Row(
                f"digits#{index}",
                {name: values[name] for name in self.schema},
                f"digits, index {index}",
                "test" if index in self._test else "train",
            )


def _load() -> tuple[np.ndarray, list[int]]:
    """Pixels, uint8 [n, 8, 8], and labels."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError(
            "The digits come with scikit-learn, which is not installed. "
            "Run: pip install 'tfdml[recipes]'."
        ) from None
    bunch = load_digits()
    # Stored as 0 to 16, one level per ink dot of a 4x4 block.
    return np.rint(bunch.images * (255 / 16)).astype(np.uint8), bunch.target.tolist()
