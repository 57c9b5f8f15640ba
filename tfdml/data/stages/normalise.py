"""Tensors to mean 0 and deviation 1, with statistics that are given or found in a first pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tfdml.data.format.features import Schema
from tfdml.data.inputs.input import Row
from tfdml.data.stages.simple import OneFeature
from tfdml.data.stages.stage import feature_of
from tfdml.errors import ConfigError, DataError

_BUFFERED_ROWS = 1024


@dataclass
class Moments:
    """Count, mean and sum of squared distances from it, in float64, without cancellation (Welford; Chan).

    Numbers that are not finite are left out. Arrays have an entry for each element of the last
    dimension, or one for all.
    """

    count: Any = 0.0
    mean: Any = 0.0
    squares: Any = 0.0
    buffer: list[np.ndarray] = field(default_factory=list)  # [elements, entries] of rows to come

    def add(self, values: np.ndarray) -> None:
        """values: [elements, entries]"""
        self.buffer.append(values)
        if len(self.buffer) == _BUFFERED_ROWS:
            self.flush()

    def flush(self) -> None:
        if not self.buffer:
            return
        values = np.concatenate(self.buffer).astype(np.float64)
        self.buffer = []
        finite = np.isfinite(values)
        count = finite.sum(0).astype(np.float64)
        values = np.where(finite, values, 0.0)
        mean = values.sum(0) / np.maximum(count, 1)
        squares = (np.where(finite, values - mean, 0.0) ** 2).sum(0)
        self._merge(count, mean, squares)

    def merge(self, other: Moments) -> None:
        other.flush()
        self.flush()
        self._merge(other.count, other.mean, other.squares)

    def _merge(self, count: Any, mean: Any, squares: Any) -> None:
        total = self.count + count
        distance = mean - self.mean
        share = count / np.maximum(total, 1)
        self.squares = self.squares + squares + distance**2 * self.count * share
        self.mean = self.mean + distance * share
        self.count = total

    def __getstate__(self) -> dict[str, Any]:
        self.flush()
        return self.__dict__


@dataclass(frozen=True)
class Normalise(OneFeature):
    """(x - mean) / deviation, as float32; where all values are equal, the deviation counts as 1.

    Attributes:
        each: for each element of the last dimension by itself, not for all together.
        mean, deviation: one number or as many as the last dimension has; None while not known.
    """

    feature: str
    each: bool = False
    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None

    @property
    def fitted(self) -> bool:  # type: ignore[override]
        return self.mean is not None

    def schema(self, schema: Schema) -> Schema:
        feature = feature_of(schema, self.feature, "normalise", ("tensor",))
        if feature.dtype in ("string", "bool"):
            raise ConfigError(f"--normalise: the feature {self.feature!r} is {feature.dtype}.")
        entries = len(self.mean) if self.mean is not None else 1
        last = feature.shape[-1] if feature.shape else 1
        if (self.each and last is None) or (entries > 1 and entries != last):
            raise ConfigError(
                f"--normalise={self.feature}: the last dimension is "
                f"{'unknown' if last is None else last}, so it cannot be normalised element by element"
                f"{f' with {entries} numbers' if entries > 1 else ''}."
            )
        return {**schema, self.feature: replace(feature, dtype="float32", encoding="")}

    def change(self, value: Any) -> np.ndarray:
        values = np.asarray(value, np.float64)
        mean, deviation = np.array(self.mean), np.array(self.deviation)
        if values.ndim == 0:
            mean, deviation = mean[0], deviation[0]
        return np.asarray((values - mean) / deviation, np.float32)

    def start(self) -> Moments:
        return Moments()

    def observe(self, partial: Moments, row: Row) -> None:
        values = np.asarray(row.values[self.feature])
        partial.add(values.reshape(-1, values.shape[-1] if self.each and values.ndim else 1))

    def combine(self, total: Moments, partial: Moments) -> None:
        total.merge(partial)

    def fit(self, total: Moments) -> Normalise:
        total.flush()
        count = np.atleast_1d(total.count)
        if not count.all():
            raise DataError(
                f"--normalise={self.feature}: the feature has no finite number"
                f"{' in some of its elements' if count.any() else ''}."
            )
        mean, squares = np.atleast_1d(total.mean), np.atleast_1d(total.squares)
        deviation = np.sqrt(squares / count)
        deviation = np.where(deviation > 0, deviation, 1.0)
        return replace(self, mean=_floats(mean), deviation=_floats(deviation))

    def describe(self) -> dict[str, Any]:
        return {
            "stage": "Normalise",
            "feature": self.feature,
            "mean": list(self.mean or ()),
            "deviation": list(self.deviation or ()),
        }


def parse_normalise(text: str) -> Normalise:
    """`NAME`, `NAME:each`, or `NAME:MEAN:DEVIATION` with one number or several with `;` between."""
    name, *rest = text.split(":")
    if not rest or rest == ["each"]:
        return Normalise(name, each=bool(rest))
    if len(rest) != 2:
        raise ConfigError(
            f"--normalise={text}: it is NAME, NAME:each, or NAME:MEAN:DEVIATION, such as x:0.5:0.25."
        )
    mean, deviation = (_parse_numbers(part, text) for part in rest)
    if len(mean) != len(deviation):
        raise ConfigError(f"--normalise={text}: {len(mean)} means and {len(deviation)} deviations.")
    if min(deviation) <= 0:
        raise ConfigError(f"--normalise={text}: a deviation is more than 0.")
    return Normalise(name, each=len(mean) > 1, mean=mean, deviation=deviation)


def _parse_numbers(text: str, flag: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(";"))
    except ValueError:
        numbers = (float("nan"),)
    if not all(np.isfinite(numbers)):
        raise ConfigError(
            f"--normalise={flag}: {text!r} is no number, nor several with ';' between."
        )
    return numbers


def _floats(values: Sequence[float] | np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
