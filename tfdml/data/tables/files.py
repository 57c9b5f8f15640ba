"""The rows of CSV and Parquet files, their cells as the files have them: what they mean is decided elsewhere."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from tfdml.data.format.features import Feature
from tfdml.data.inputs.csv_rows import Csv
from tfdml.data.inputs.files import find_files
from tfdml.data.inputs.input import BadRow, Fragment, InputFile, Row
from tfdml.data.inputs.options import InputOptions
from tfdml.data.inputs.parquet import Parquet
from tfdml.errors import DataError

_SUFFIXES = (".csv", ".tsv", ".parquet", ".pq")
_LOOKED_AT_ROWS = 5_000  # of a fragment
_LOOKED_AT_FRAGMENTS = 4


class RawTable(Protocol):
    """Rows whose values are cells by column; `schema` has a key for each column, in their order."""

    @property
    def files(self) -> tuple[InputFile, ...]: ...

    @property
    def schema(self) -> Any: ...

    def fragments(self) -> Any: ...

    def rows(self, fragment: Fragment) -> Iterator[Row | BadRow]: ...


class CsvCells(Csv):
    """CSV whose cells stay texts."""

    def _feature(self, name: str, sample: Any) -> Feature:
        return Feature("text")

    def _converter(self, name: str, file: str) -> Callable[[Any], Any]:
        return _as_it_is


class ParquetCells(Parquet):
    """Parquet whose cells are what Arrow makes of them: None is no value, timestamps are datetimes."""

    def _feature(self, name: str, kind: Any, sample: Any) -> Feature:
        return Feature("text")

    def _converter(self, name: str, file: str) -> Callable[[Any], Any]:
        return _as_it_is


def _as_it_is(cell: Any) -> Any:
    return cell


def open_files(pattern: str, delimiter: str = "") -> RawTable:
    """CSV or Parquet files, by a name, a glob pattern, a directory, or a URL of one of these.

    Args:
        delimiter: of CSV, default by the file's extension: a comma, or a tab.

    Raises:
        DataError: there are none, or both kinds, or they do not have the same columns.
    """
    try:
        found = find_files((pattern,), _SUFFIXES, example="data/*.csv")
    except DataError as error:
        raise DataError(str(error).replace("--input=", "")) from None
    kinds = {file.path.lower().endswith((".parquet", ".pq")) for file in found}
    if len(kinds) > 1:
        raise DataError(f"{pattern} has CSV and Parquet files. Name those of one kind.")
    if kinds.pop():
        return ParquetCells((pattern,), InputOptions())
    return CsvCells((pattern,), InputOptions(delimiter=delimiter))


def sample(table: RawTable) -> list[dict[str, Any]]:
    """Some rows from all over the table; bad ones are left out, of which the reading will speak.

    Raises:
        DataError: there are none.
    """
    fragments = table.fragments()
    step = -(-len(fragments) // _LOOKED_AT_FRAGMENTS)
    rows: list[dict[str, Any]] = []
    for fragment in fragments[::step] if step else ():
        for row in itertools.islice(table.rows(fragment), _LOOKED_AT_ROWS):
            if isinstance(row, Row):
                rows.append(row.values)
    if not rows:
        where = table.files[0].path if table.files else "The table"
        raise DataError(f"{where} has no rows.")
    return rows


def unusable(location: str, reason: str) -> DataError:
    """For a row that cannot be used."""
    return DataError(f"{location}: {reason}. Correct the row, or remove it.")
