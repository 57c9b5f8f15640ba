"""How many shards there will be, and how many groups the records are shared out to, from a sample of the rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tfdml.data.conversion.direct import rows_known
from tfdml.data.conversion.records import Reading, Recipe
from tfdml.data.conversion.request import Conversion
from tfdml.data.conversion.splits import SplitBounds
from tfdml.data.format.example import Encoder
from tfdml.data.format.features import Schema, label_feature
from tfdml.data.format.record_file import framed_size
from tfdml.data.inputs.input import BadRow, Fragment, Row
from tfdml.data.stages.stage import Stage, apply_stages, schema_after
from tfdml.errors import DataError

_SAMPLE_ROWS = 64  # of each of three fragments
_DEFAULT_SHARD_BYTES = 256 << 20
_DEFAULT_NUM_SHARDS = 4
_MOST_SHARDS = 99_999


@dataclass(frozen=True)
class Estimate:
    """What the whole input will be, about, as far as a sample can tell."""

    records: int
    bytes: int


@dataclass(frozen=True)
class SplitLayout:
    """Shards of a split, each made of `groups_per_shard` groups that are shuffled in memory.

    Attributes:
        asked: the number of shards was asked for, so that fewer records than that are an error.
    """

    num_shards: int
    groups_per_shard: int
    asked: bool

    @property
    def groups(self) -> int:
        return self.num_shards * self.groups_per_shard


@dataclass(frozen=True)
class Layout:
    """All that the map and the gather need to know, found out before them.

    Attributes:
        direct: the number of rows of each fragment, if the shards are written without spill files.
    """

    recipe: Recipe
    bounds: SplitBounds
    splits: Mapping[str, SplitLayout]
    estimate: Estimate
    direct: list[int] | None


def make_layout(
    request: Conversion,
    fragments: Sequence[Fragment],
    stages: tuple[Stage, ...],
    bounds: SplitBounds,
) -> Layout:
    """The layout of a conversion whose stages are fitted; the same for the same input and settings."""
    schema = schema_after(stages, request.input.schema)
    reading = Reading(request.input, bounds, keep_own=request.splits is None)
    estimate = estimate_output(reading, fragments, stages, schema)
    splits = {
        split: split_layout(request, math.ceil(estimate.bytes * part))
        for split, part in request.split_parts().items()
    }
    recipe = Recipe(stages, schema, label_feature(schema) or "", tuple(splits))
    return Layout(recipe, bounds, splits, estimate, rows_known(request, fragments))


def split_layout(request: Conversion, num_bytes: int) -> SplitLayout:
    """For a split of about so many bytes of records.

    Raises:
        DataError: for shards so small that there would be too many.
    """
    if request.num_shards is not None:
        num_shards = request.num_shards
    elif request.shard_bytes is not None:
        num_shards = max(1, math.ceil(num_bytes / request.shard_bytes))
    else:
        num_shards = max(_DEFAULT_NUM_SHARDS, math.ceil(num_bytes / _DEFAULT_SHARD_BYTES))
    if num_shards > _MOST_SHARDS:
        raise DataError(
            f"--shard_bytes={request.shard_bytes} makes {num_shards} files; there may be {_MOST_SHARDS}. "
            "Use larger ones."
        )
    if not request.shuffle:
        return SplitLayout(num_shards, 1, request.num_shards is not None)
    groups = max(1, math.ceil(num_bytes / num_shards / request.group_bytes))
    return SplitLayout(num_shards, groups, request.num_shards is not None)


def estimate_output(
    reading: Reading, fragments: Sequence[Fragment], stages: Sequence[Stage], schema: Schema
) -> Estimate:
    """From the first rows of the first, the middle and the last fragment. Bad rows are left out."""
    sampled = sorted({0, len(fragments) // 2, len(fragments) - 1})
    records = size = 0.0
    covered = 0
    encode = Encoder(schema)
    for number in sampled:
        fragment = fragments[number]
        source = _Sampled(reading, fragment)
        of_sample = [
            framed_size(len(record))
            for row in apply_stages(stages, source, Counter())
            if isinstance(row, Row)
            for record in _encoded(row, encode, as_it_is=not stages)
        ]
        weight = source.fragment_rows() / max(1, source.rows)
        records += weight * len(of_sample)
        size += weight * sum(of_sample)
        covered += fragment.size_bytes
    scale = sum(fragment.size_bytes for fragment in fragments) / max(1, covered)
    return Estimate(round(records * scale), round(size * scale))


def _encoded(row: Row, encode: Encoder, *, as_it_is: bool) -> Iterator[bytes]:
    """The record of a row; nothing for one that cannot be encoded."""
    if as_it_is and row.record is not None:
        yield row.record
        return
    try:
        yield encode(row.values)
    except DataError:
        return


class _Sampled:
    """The first rows of a fragment; afterwards it knows how many there are in all, about."""

    def __init__(self, reading: Reading, fragment: Fragment) -> None:
        self._reading = reading
        self._fragment = fragment
        self._source = iter(reading.rows(fragment))
        self._value_bytes = 0
        self.rows = 0

    def __iter__(self) -> Iterator[Row | BadRow]:
        for row in islice(self._source, _SAMPLE_ROWS):
            self.rows += 1
            if isinstance(row, Row):
                self._value_bytes += sum(map(_size_of, row.values.values())) + len(
                    row.record or b""
                )
            yield row

    def fragment_rows(self) -> float:
        """Known or counted; where rows are images, which take long to read, told by the bytes of the first ones."""
        if self.rows < _SAMPLE_ROWS:
            return self.rows
        known = getattr(self._reading.input, "fragment_rows", None)
        if known is not None:
            return known(self._fragment)
        has_images = any(f.kind == "image" for f in self._reading.input.schema.values())
        if has_images:
            return max(self.rows, self._fragment.size_bytes / (self._value_bytes / self.rows or 1))
        return self.rows + sum(1 for _ in self._source)


def _size_of(value: Any) -> int:
    if isinstance(value, bytes | str):
        return len(value)
    return int(getattr(value, "nbytes", 8))
