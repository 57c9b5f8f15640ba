"""JSON Lines: an object a line; numbers, texts and nested lists of one shape become features."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from tfdml.data.format.features import Feature, make_schema
from tfdml.data.inputs import columns as table
from tfdml.data.inputs.cuts import cut_at_lines, fragments_of_files, lines_between, pieces_of
from tfdml.data.inputs.file_input import FileInput
from tfdml.data.inputs.files import find_files
from tfdml.data.inputs.image_column import image_column, look_at
from tfdml.data.inputs.input import BadRow, Fragment, InputFile, Row
from tfdml.data.inputs.opening import open_file, refuse_compressed
from tfdml.data.inputs.options import InputOptions
from tfdml.data.inputs.values import from_python
from tfdml.errors import DataError

_SAMPLE_FILES = 8
_SAMPLE_ROWS = 2_000  # of each
_SAMPLE_BYTES = 4 * 1024 * 1024  # of each
_SAMPLE_IMAGES = 100
_BLANK = frozenset(b" \t\r\n")


class JsonLines(FileInput):
    """Objects that all have fields of the same kinds. Null is NaN in floats and "" in text."""

    def __init__(self, patterns: Sequence[str], options: InputOptions):
        self.files = find_files(patterns, (".jsonl", ".ndjson"), example="data/*.jsonl")
        refuse_compressed(self.files[0])
        self._options = options
        self._said = table.declared(options)
        sample = self._sample()
        names = tuple(dict.fromkeys(name for fields in sample for name in fields))
        where = self.files[0].path
        table.check_names(names, where)
        self._used = table.chosen(names, options, where)
        self._known = frozenset(names)
        self.schema = make_schema((name, self._feature(name, sample)) for name in self._used)

    def find_fragments(self) -> list[Fragment]:
        return fragments_of_files(self.files, cut_at_lines)

    def rows(self, fragment: Fragment) -> Iterator[Row | BadRow]:
        for file, start, stop, first_row in pieces_of(fragment):
            yield from self._rows(file, start, stop, first_row)

    def _rows(
        self, file: InputFile, start: int, stop: int, first_row: int
    ) -> Iterator[Row | BadRow]:
        if not file.size:
            yield BadRow(file.shown, "the file is empty")
        plan = [(name, self._converter(name, file.path)) for name in self.schema]
        key, shown = self._options.key, file.shown
        for number, line in self._lines(file, start, stop, first_row):
            location = f"{shown}, row {number}"
            name = ""
            try:
                fields = _parse(line)
                self._check_fields(fields)
                values = {}
                for name, convert in plan:
                    values[name] = convert(fields.get(name))
                name = key
                row_key = _key(fields.get(key)) if key else f"{file.relative}#{number}"
                yield Row(row_key, values, location)
            except ValueError as error:
                reason = f"field {name!r}: {error}" if name else str(error)
                yield BadRow(location, reason, line)

    def _check_fields(self, fields: dict[str, Any]) -> None:
        if not self._known.issuperset(fields) and not self._options.select:
            name = next(name for name in fields if name not in self._known)
            raise ValueError(
                f"it has the field {name!r}, which no row looked at first has; say --features={name}:KIND, or "
                "name the features to use with --select"
            )

    def _lines(
        self, file: InputFile, start: int, stop: int, row: int = 1
    ) -> Iterator[tuple[int, bytes]]:
        with open_file(file) as data:
            for number, line in enumerate(lines_between(data, start, stop), row):
                if not _BLANK.issuperset(line):
                    yield number, line

    def _sample(self) -> list[dict[str, Any]]:
        step = -(-len(self.files) // _SAMPLE_FILES)
        found = []
        reason = "the file is empty"
        for file in self.files[::step]:
            lines = self._lines(file, 0, min(file.size, _SAMPLE_BYTES))
            for _, line in islice(lines, _SAMPLE_ROWS):
                try:
                    found.append(_parse(line))
                except ValueError as error:
                    reason = str(error)
        for name in self._said:  # a field may be named that the sample does not have
            for fields in found[:1]:
                fields.setdefault(name, None)
        if not found:
            raise DataError(f"{self.files[0].path}: no row that can be read ({reason}).")
        return found

    def _feature(self, name: str, sample: list[dict[str, Any]]) -> Feature:
        values = [fields[name] for fields in sample if fields.get(name) is not None]
        said = self._said.get(name)
        if said is None:
            return guess(name, values, self.files[0].path)
        if said.kind == "image":
            images = values[:_SAMPLE_IMAGES]
            return look_at(images, self.files[0].path, self._options.image_shape, name)
        if said.kind == "label":
            integers = all(isinstance(v, int) or table.is_integer(str(v)) for v in values)
            return table.label_feature(
                name, self._options, self._column(name), only_integers=integers
            )
        if said.kind == "text":
            return Feature("text")
        shape = said.shape
        if shape is None:
            shape = table.common_shape((np.shape(v) for v in values), name) if values else ()
        return Feature("tensor", said.dtype, shape)

    def _column(self, name: str) -> Iterator[str]:
        for file in self.files:
            for _, line in self._lines(file, 0, file.size):
                try:
                    value = _parse(line).get(name)
                except ValueError:
                    continue  # the conversion will tell
                if isinstance(value, str | int):
                    yield str(value)

    def _converter(self, name: str, file: str) -> Any:
        feature = self.schema[name]
        if feature.kind == "image":
            return image_column(feature, file, reencode=self._options.reencode)
        return from_python(feature)


def guess(name: str, values: list[Any], where: str) -> Feature:
    """What a field holds, by some of its values, of which none is None.

    Raises:
        DataError: for objects, lists of no one shape, or nothing to go by.
    """
    remedy = f"Say what it is with --features={name}:KIND, or leave it out with --drop={name}."
    if not values:
        raise DataError(f"{where}: the field {name!r} is null in all rows looked at. {remedy}")
    if all(isinstance(value, bool) for value in values):
        return Feature("tensor", "bool")
    if all(isinstance(value, str) for value in values):
        return Feature("text")
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        whole = all(isinstance(value, int) for value in values)
        return Feature("tensor", "int64" if whole else "float32")
    if not all(isinstance(value, list) for value in values):
        kinds = " and ".join(sorted({type(value).__name__ for value in values}))
        raise DataError(f"{where}: the field {name!r} holds {kinds} values. {remedy}")
    try:
        arrays = [np.asarray(value) for value in values]
        dtypes = {_dtype(array) for array in arrays if array.size}
    except ValueError as error:
        raise DataError(f"{where}: the field {name!r}: {error}. {remedy}") from None
    if len(dtypes) > 1 and dtypes != {"int64", "float32"}:
        raise DataError(
            f"{where}: the field {name!r} holds lists of {' and of '.join(sorted(dtypes))}. {remedy}"
        )
    shape = table.common_shape((array.shape for array in arrays), name)
    dtype = "float32" if "float32" in dtypes else next(iter(dtypes), "float32")
    return Feature("tensor", dtype, shape)


def _dtype(values: np.ndarray) -> str:
    return "string" if values.dtype.kind == "U" else table.numeric_dtype(values)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise ValueError(f"invalid UTF-8 (byte 0x{line[error.start]:02x})") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("lists or objects are nested too deep") from None
    if not isinstance(fields, dict):
        raise ValueError(f"a JSON object is expected, got a {type(fields).__name__}")
    return fields


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has two fields of the name {twice!r}")
    return fields


def _key(value: Any) -> str:
    if value is None or isinstance(value, list | dict):
        raise ValueError("no key, which is a text or a number")
    return str(value).encode("utf-8", "replace").decode()
