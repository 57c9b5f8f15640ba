"""What a split's values are like: a summary of each feature, and how often each label is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfdml.data.format.features import Feature, Schema
from tfdml.data.format.image_header import image_size
from tfdml.data.format.summary import Summary

# Numbers are kept until there are so many, because a summary of many at once is cheaper.
_KEPT_VALUES = 1 << 18
_KEPT_ROWS = 1 << 14


@dataclass(frozen=True)
class SplitStatistics:
    """Of the rows of one split, or of a part of them.

    Attributes:
        records: number of rows.
        measures: feature -> what is measured -> summary. Images: bytes, height, width; texts: bytes;
            tensors: value (strings: bytes), and length where a dimension varies.
        histogram: feature of kind label -> label -> number of rows.
    """

    records: int = 0
    measures: Mapping[str, Mapping[str, Summary]] = field(default_factory=dict)
    histogram: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def merge(self, other: SplitStatistics) -> SplitStatistics:
        """Of the rows of both; merge parts in a fixed order for the same last bits."""
        names = dict.fromkeys((*self.measures, *other.measures))
        labels = dict.fromkeys((*self.histogram, *other.histogram))
        return SplitStatistics(
            self.records + other.records,
            {name: _merged(self.measures.get(name), other.measures.get(name)) for name in names},
            {
                name: dict(
                    sorted(
                        (
                            Counter(self.histogram.get(name, {}))
                            + Counter(other.histogram.get(name, {}))
                        ).items()
                    )
                )
                for name in labels
            },
        )


def _merged(
    first: Mapping[str, Summary] | None, second: Mapping[str, Summary] | None
) -> dict[str, Summary]:
    first, second = first or {}, second or {}
    return {
        what: first.get(what, Summary()).merge(second.get(what, Summary()))
        for what in dict.fromkeys((*first, *second))
    }


class RowStatistics:
    """Collects the statistics of rows, one after the other, in a few megabytes."""

    def __init__(self, schema: Schema) -> None:
        self._records = 0
        self._labels: dict[str, Counter[int]] = {}
        self._numbers: dict[str, dict[str, _Numbers]] = {}
        self._adders: list[tuple[str, Callable[[Any], None]]] = []
        for name, feature in schema.items():
            self._adders.append((name, self._adder(name, feature)))

    def add(self, values: Mapping[str, Any]) -> None:
        """One row, whose values fit the schema."""
        self._records += 1
        for name, add in self._adders:
            add(values[name])

    def finish(self) -> SplitStatistics:
        return SplitStatistics(
            self._records,
            {
                name: {what: numbers.summary() for what, numbers in measured.items()}
                for name, measured in self._numbers.items()
            },
            {name: dict(sorted(counts.items())) for name, counts in self._labels.items()},
        )

    def _adder(self, name: str, feature: Feature) -> Callable[[Any], None]:
        if feature.kind == "label":
            counts = self._labels[name] = Counter()

            def add_label(label: int) -> None:
                counts[int(label)] += 1

            return add_label
        measured = self._numbers[name] = {}
        if feature.kind == "image":
            return _image_adder(measured)
        if feature.kind == "text":
            measured["bytes"] = numbers = _Numbers()
            return lambda text: numbers.add(len(text if isinstance(text, bytes) else text.encode()))
        return _tensor_adder(measured, feature)


class _Numbers:
    """Numbers to summarise, single ones or arrays."""

    def __init__(self) -> None:
        self._summary = Summary()
        self._single: list[float] = []
        self._arrays: list[np.ndarray] = []
        self._size = 0

    def add(self, number: float) -> None:
        self._single.append(number)
        if len(self._single) >= _KEPT_ROWS:
            self._flush()

    def add_array(self, array: np.ndarray) -> None:
        self._arrays.append(array.ravel())
        self._size += array.size
        if self._size >= _KEPT_VALUES or len(self._arrays) >= _KEPT_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._single:
            self._summary = self._summary.merge(Summary.of(np.array(self._single)))
        if self._arrays:
            self._summary = self._summary.merge(Summary.of(np.concatenate(self._arrays)))
        self._single, self._arrays, self._size = [], [], 0

    def summary(self) -> Summary:
        self._flush()
        return self._summary


def _image_adder(measured: dict[str, _Numbers]) -> Callable[[bytes], None]:
    measured.update({what: _Numbers() for what in ("bytes", "height", "width")})
    size, height, width = measured.values()

    def add(image: bytes) -> None:
        size.add(len(image))
        pixels = image_size(image)
        if pixels:
            height.add(pixels[0])
            width.add(pixels[1])

    return add


def _tensor_adder(measured: dict[str, _Numbers], feature: Feature) -> Callable[[Any], None]:
    numbers = measured["bytes" if feature.dtype == "string" else "value"] = _Numbers()
    if feature.dtype == "string":

        def add_values(value: Any) -> None:
            for text in np.asarray(value, object).ravel().tolist():
                numbers.add(len(text if isinstance(text, bytes) else text.encode()))

    elif not feature.shape:

        def add_values(value: Any) -> None:
            numbers.add(float(value))

    else:
        dtype = feature.numpy_dtype

        def add_values(value: Any) -> None:
            numbers.add_array(np.asarray(value, dtype))

    if None not in feature.shape:
        return add_values
    lengths = measured["length"] = _Numbers()
    fixed = max(1, int(np.prod([n for n in feature.shape if n is not None], dtype=np.int64)))

    def add_both(value: Any) -> None:
        add_values(value)
        lengths.add((value.size if isinstance(value, np.ndarray) else np.size(value)) // fixed)

    return add_both
