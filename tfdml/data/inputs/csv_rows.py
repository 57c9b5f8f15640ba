"""CSV: a header or --columns, types from a first look or from flags, fields checked one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

from tfdml.data.format.features import Feature, Schema, make_schema
from tfdml.data.inputs import columns as table
from tfdml.data.inputs.csv_records import Record, cut_at_records, records
from tfdml.data.inputs.cuts import fragments_of_files, lines_between, pieces_of
from tfdml.data.inputs.file_input import FileInput
from tfdml.data.inputs.files import find_files
from tfdml.data.inputs.image_column import image_column, look_at
from tfdml.data.inputs.input import BadRow, Fragment, InputFile, Row
from tfdml.data.inputs.opening import open_file, refuse_compressed
from tfdml.data.inputs.options import InputOptions
from tfdml.data.inputs.text_values import from_text
from tfdml.data.inputs.values import MISSING
from tfdml.errors import ConfigError, DataError

_SAMPLE_FILES = 8
_SAMPLE_ROWS = 5_000  # of each
_SAMPLE_BYTES = 4 * 1024 * 1024  # of each
_SAMPLE_IMAGES = 100
_ERRORS = 0.02  # of the sample may be of another kind than its column
_BOOLEANS = frozenset(("true", "false", "True", "False", "TRUE", "FALSE"))


class Csv(FileInput):
    """Rows of CSV files that all have the same columns."""

    def __init__(self, patterns: Sequence[str], options: InputOptions):
        self.files = find_files(patterns, (".csv", ".tsv"), example="data/*.csv")
        refuse_compressed(self.files[0])
        self._options = options
        self._delimiter = _delimiter(options.delimiter, self.files[0].path)
        self._header = not options.columns
        self._names = options.columns or self._read_headers()
        table.check_names(self._names, self.files[0].path)
        self._used = table.chosen(self._names, options, self.files[0].path)
        self._said = table.declared(options)
        self.schema = self._make_schema()

    def find_fragments(self) -> list[Fragment]:
        return fragments_of_files(self.files, partial(cut_at_records, delimiter=self._delimiter))

    def rows(self, fragment: Fragment) -> Iterator[Row | BadRow]:
        for file, start, stop, first_row in pieces_of(fragment):
            yield from self._rows(file, start, stop, first_row)

    def _rows(
        self, file: InputFile, start: int, stop: int, first_row: int
    ) -> Iterator[Row | BadRow]:
        if not file.size:
            yield BadRow(file.shown, "the file is empty")
        plan = [
            (name, self._names.index(name), self._converter(name, file.path))
            for name in self.schema
        ]
        key = self._names.index(self._options.key) if self._options.key else None
        shown = file.shown
        for number, record in self._records(file, start, stop, first_row):
            location = f"{shown}, row {number}"
            if not (reason := self._what_is_wrong(record)):
                values = {}
                name = ""
                try:
                    for name, column, convert in plan:
                        values[name] = convert(record.fields[column])
                except ValueError as error:
                    reason = f"column {name!r}: {error}{self._hint(name)}"
            if reason:
                yield BadRow(location, reason, record.content)
            else:
                row_key = f"{file.relative}#{number}" if key is None else record.fields[key]
                yield Row(row_key, values, location)

    def _what_is_wrong(self, record: Record) -> str:
        if record.reason:
            return record.reason
        if len(record.fields) != len(self._names):
            return f"{len(record.fields)} columns, there should be {len(self._names)}"
        return ""

    def _records(
        self, file: InputFile, start: int, stop: int, row: int = 1
    ) -> Iterator[tuple[int, Record]]:
        """Numbered records without the header and blank lines."""
        with open_file(file) as data:
            for number, record in enumerate(
                records(lines_between(data, start, stop), self._delimiter), row
            ):
                if (record.fields or record.reason) and not (self._header and number == 1):
                    yield number, record

    def _read_headers(self) -> tuple[str, ...]:
        names: tuple[str, ...] = ()
        first = ""
        for file in self.files:
            with open_file(file) as data:
                record = next(records(lines_between(data, 0, file.size), self._delimiter), None)
            if record is None:
                continue  # an empty file is a bad row later
            if record.reason:
                raise DataError(f"{file.path}, row 1: {record.reason}.")
            found = tuple(name.strip() for name in record.fields)
            if names and found != names:
                raise DataError(
                    f"{file.path} has the columns {', '.join(found)}, but {first} has {', '.join(names)}. "
                    "Convert files with the same columns together."
                )
            names, first = found, first or file.path
        if not names:
            raise DataError(
                f"{self.files[0].path}: the file is empty, so nothing says what its columns are."
            )
        return names

    def _make_schema(self) -> Schema:
        step = -(-len(self.files) // _SAMPLE_FILES)
        sample: list[list[str]] = []
        for file in self.files[::step]:
            few = islice(self._records(file, 0, min(file.size, _SAMPLE_BYTES)), _SAMPLE_ROWS)
            sample += [record.fields for _, record in few if not self._what_is_wrong(record)]
        self._guessed = {name for name in self._used if name not in self._said}
        if not sample and self._guessed:
            raise DataError(
                f"{self.files[0].path}: no row with {len(self._names)} columns, so nothing says what the "
                f"columns hold. Is {self._delimiter!r} the delimiter?"
            )
        return make_schema((name, self._feature(name, sample)) for name in self._used)

    def _feature(self, name: str, sample: list[list[str]]) -> Feature:
        column = self._names.index(name)
        values = [fields[column] for fields in sample]
        said = self._said.get(name)
        if said is None:
            return _guess(values)
        if said.kind == "image":
            return look_at(
                values[:_SAMPLE_IMAGES], self.files[0].path, self._options.image_shape, name
            )
        if said.kind == "label":
            return table.label_feature(
                name,
                self._options,
                self._column(column),
                only_integers=_nearly_all(values, table.is_integer),
            )
        if said.kind == "text":
            return Feature("text")
        return Feature("tensor", said.dtype, said.shape or ())

    def _column(self, column: int) -> Iterator[str]:
        for file in self.files:
            for _, record in self._records(file, 0, file.size):
                if not self._what_is_wrong(record) and record.fields[column].strip() not in MISSING:
                    yield record.fields[column].strip()

    def _converter(self, name: str, file: str) -> Any:
        feature = self.schema[name]
        if feature.kind == "image":
            return image_column(feature, file, reencode=self._options.reencode)
        return from_text(feature)

    def _hint(self, name: str) -> str:
        """What to do when the first rows of a column did not show what else is in it."""
        if name in self._guessed and self.schema[name].kind == "tensor":
            dtype = self.schema[name].dtype
            return (
                f" (the rows looked at first are {dtype}; say --features={name}:KIND if it is not)"
            )
        return ""


def _delimiter(given: str, file: str) -> str:
    if not given:
        return "\t" if file.lower().endswith(".tsv") else ","
    delimiter = {"\\t": "\t", "tab": "\t"}.get(given, given)
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise ConfigError(f"--delimiter={given}: it is one ASCII character, such as ';', or tab.")
    return delimiter


def _guess(values: list[str]) -> Feature:
    """What a column holds, by a sample of its texts."""
    missing = any(value.strip() in MISSING for value in values)
    if not missing and _nearly_all(values, _BOOLEANS.__contains__):
        return Feature("tensor", "bool")
    if not _nearly_all(values, _is_number):
        return Feature("text")
    whole = not missing and all(map(table.is_integer, filter(_is_number, values)))
    return Feature("tensor", "int64" if whole else "float32")


def _nearly_all(values: list[str], test: Callable[[str], bool]) -> bool:
    """Whether values are of a kind, but for a few, which are errors then, and missing ones."""
    there = [value for value in values if value.strip() not in MISSING]
    others = sum(not test(value) for value in there)
    return bool(there) and others <= len(there) * _ERRORS


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
