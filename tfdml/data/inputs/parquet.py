"""Parquet through pyarrow: a row group at a time, nested lists as tensors, binary columns as images or bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tfdml.data.format.features import Feature, make_schema
from tfdml.data.inputs import columns as table
from tfdml.data.inputs.arrow_values import (
    bytes_of,
    class_names_of,
    holds_images,
    is_binary,
    tensor_of,
    values_of,
)
from tfdml.data.inputs.file_input import FileInput
from tfdml.data.inputs.files import find_files
from tfdml.data.inputs.image_column import image_column, look_at
from tfdml.data.inputs.input import BadRow, Fragment, InputFile, Row
from tfdml.data.inputs.opening import open_file
from tfdml.data.inputs.options import InputOptions
from tfdml.data.inputs.values import from_python
from tfdml.errors import DataError

_FRAGMENT_BYTES = 16 * 1024 * 1024  # unpacked; row groups are joined up to it
_BATCH_BYTES = 8 * 1024 * 1024  # as Python values
_BATCH_ROWS = 1024
_SAMPLE_ROWS = 1000
_SAMPLE_IMAGES = 100
_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError)


class Parquet(FileInput):
    """Rows of Parquet files that all have the same columns."""

    def __init__(self, patterns: Sequence[str], options: InputOptions):
        self.files = find_files(patterns, (".parquet", ".pq"), example="data/*.parquet")
        self._options = options
        self._said = table.declared(options)
        self._first = self.files[0].path
        self._groups: list[
            list[tuple[int, int]]
        ] = []  # of each file: (rows, bytes) of each row group
        columns = self._read_columns()
        table.check_names(columns.names, self._first)
        names = table.chosen(columns.names, options, self._first)
        self._read = [*names, *([options.key] if options.key and options.key not in names else [])]
        sample = self._sample()
        self._class_names = class_names_of(columns)
        self.schema = make_schema(
            (name, self._feature(name, columns.field(name).type, sample[name])) for name in names
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_groups": []}

    def find_fragments(self) -> list[Fragment]:
        found: list[Fragment] = []
        for file, groups in zip(self.files, self._groups, strict=True):
            first = row = rows = size = 0
            for number, (num_rows, num_bytes) in enumerate([*groups, (0, _FRAGMENT_BYTES + 1)]):
                if number > first and size + num_bytes > _FRAGMENT_BYTES:
                    here = (len(found), file.path, first, number, size, row, (file,), rows)
                    found.append(Fragment(*here))
                    first, row, rows, size = number, row + rows, 0, 0
                rows += num_rows
                size += num_bytes
        return found

    def fragment_rows(self, fragment: Fragment) -> int:
        return fragment.num_rows

    def rows(self, fragment: Fragment) -> Iterator[Row | BadRow]:
        (file,) = fragment.items
        plan = [(name, self._converter(name, file.path)) for name in self.schema]
        number = fragment.first_row
        with _opened(file) as parquet:
            for group in range(fragment.start, fragment.stop):
                end = number + parquet.metadata.row_group(group).num_rows
                try:
                    for columns, size in self._columns(parquet, group):
                        for row in range(size):
                            number += 1
                            yield self._row(file, number, columns, row, plan)
                except _ERRORS as error:
                    yield BadRow(f"{file.shown}, rows {number + 1} to {end}", _reason(error))
                number = end

    def _columns(self, parquet: pq.ParquetFile, group: int) -> Iterator[tuple[dict[str, Any], int]]:
        """Column -> values of some rows, and how many."""
        size = _batch_rows(parquet, group)
        for batch in parquet.iter_batches(
            size, row_groups=[group], columns=self._read, use_threads=False
        ):
            yield {name: values_of(batch.column(name)) for name in self._read}, batch.num_rows

    def _row(
        self, file: InputFile, number: int, columns: dict[str, Any], row: int, plan: list[Any]
    ) -> Row | BadRow:
        location = f"{file.shown}, row {number}"
        values = {}
        name = ""
        try:
            for name, convert in plan:
                values[name] = convert(columns[name][row])
        except ValueError as error:
            return BadRow(location, f"column {name!r}: {error}")
        key = f"{file.relative}#{number}"
        if self._options.key:
            value = columns[self._options.key][row]
            key = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        return Row(key, values, location)

    def _read_columns(self) -> pa.Schema:
        """The columns that all files have; also finds out the row groups."""
        columns: pa.Schema | None = None
        for file in self.files:
            with _opened(file) as parquet:
                here, about = parquet.schema_arrow, parquet.metadata
                groups = [about.row_group(n) for n in range(about.num_row_groups)]
                self._groups.append([(g.num_rows, g.total_byte_size) for g in groups])
            if columns is not None and not here.equals(columns):
                differ = [f for f in here if f not in columns] + [
                    f for f in columns if f not in here
                ]
                what = f"the column {differ[0].name!r} differs" if differ else "their order differs"
                raise DataError(
                    f"{file.path} has other columns than {self._first}: {what}. Convert files with the "
                    "same columns together."
                )
            columns = here
        assert columns is not None
        return columns

    def _sample(self) -> dict[str, list[Any]]:
        for file, groups in zip(self.files, self._groups, strict=True):
            if any(rows for rows, _ in groups):
                with _opened(file) as parquet:
                    group = next(n for n, (rows, _) in enumerate(groups) if rows)
                    columns, _ = next(self._columns(parquet, group))
                    return {name: values[:_SAMPLE_ROWS] for name, values in columns.items()}
        raise DataError(f"{self._first}: the input has no rows.")

    def _feature(self, name: str, kind: pa.DataType, sample: list[Any]) -> Feature:
        said = self._said.get(name)
        there = [value for value in sample if value is not None]
        if name in self._class_names and (said is None or said.kind == "label"):
            names = self._options.read_class_names() or self._class_names[name]
            return Feature("label", class_names=names)
        if said is not None and said.kind == "label":
            integers = pa.types.is_integer(kind) or pa.types.is_boolean(kind)
            return table.label_feature(
                name, self._options, self._column(name), only_integers=integers
            )
        if (said is not None and said.kind == "image") or (said is None and holds_images(there)):
            return look_at(there[:_SAMPLE_IMAGES], self._first, self._options.image_shape, name)
        if said is not None and said.kind == "text":
            return Feature("text")
        dtype, shape = tensor_of(kind, name, self._first, there)
        if said is not None:
            return Feature("tensor", said.dtype, shape if said.shape is None else said.shape)
        if dtype == "string" and not shape and not is_binary(kind):
            return Feature("text")
        return Feature("tensor", dtype, shape)

    def _column(self, name: str) -> Iterator[str]:
        for file in self.files:
            with _opened(file) as parquet:
                for batch in parquet.iter_batches(batch_size=65536, columns=[name]):
                    for value in batch.column(name).unique().to_pylist():
                        if value is not None:
                            yield value.decode() if isinstance(value, bytes) else str(value)

    def _converter(self, name: str, file: str) -> Any:
        feature = self.schema[name]
        if feature.kind == "image":
            return image_column(feature, file, reencode=self._options.reencode)
        if feature.kind == "tensor" and feature.dtype == "string" and not feature.shape:
            return bytes_of
        return from_python(feature)


@contextmanager
def _opened(file: InputFile) -> Iterator[pq.ParquetFile]:
    """The file, with Arrow's many errors as one kind."""
    try:
        with open_file(file) as data, pq.ParquetFile(data) as parquet:
            yield parquet
    except _ERRORS as error:
        raise DataError(f"{file.shown}: {_reason(error)}.") from None


def _reason(error: Exception) -> str:
    return f"no Parquet file that can be read ({' '.join(str(error).split())[:200]})"


def _batch_rows(parquet: pq.ParquetFile, group: int) -> int:
    """Rows that are in memory at a time."""
    about = parquet.metadata.row_group(group)
    row_bytes = about.total_byte_size / max(1, about.num_rows)
    return max(1, min(_BATCH_ROWS, int(_BATCH_BYTES / max(1, row_bytes))))
