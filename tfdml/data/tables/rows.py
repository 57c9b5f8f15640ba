"""The rows of a table as a conversion wants them: numbers with NaN, categories with "", classes by number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from tfdml.data.format.features import Feature, Schema, make_schema
from tfdml.data.inputs.input import BadRow, Fragment, InputFile, Row
from tfdml.data.tables.cells import category_of, is_missing, number_of
from tfdml.data.tables.files import RawTable, unusable
from tfdml.data.tables.schema import TableSchema
from tfdml.data.tables.settings import TableSettings
from tfdml.errors import ConfigError, DataError

_MAX_CLASSES = 1000


class TypedRows:
    """An input of a conversion: a feature for each column of the schema, and the target.

    A numeric column is a float32 scalar, NaN where a value is missing; a categorical one a text, "" where it is
    missing; the target a label, or a float32 number. A cell that does not fit ends the reading.

    Args:
        has_target: whether the table has the target at all; else it is not a feature.
    """

    def __init__(
        self, table: RawTable, schema: TableSchema, settings: TableSettings, *, has_target: bool
    ):
        self._table = table
        self._settings = settings
        self._columns: list[tuple[str, Callable[[Any], Any]]] = []
        self._target = schema.target if has_target else None
        self._classes = {name: number for number, name in enumerate(schema.classes)}
        self.files: tuple[InputFile, ...] = table.files
        features: list[tuple[str, Feature]] = []
        for column in schema.columns:
            numeric = column.kind == "numeric"
            self._columns.append((column.name, _number if numeric else _category))
            features.append(
                (column.name, Feature("tensor", "float32") if numeric else Feature("text"))
            )
        if has_target:
            features.append((schema.target, target_feature(schema)))
        self.schema: Schema = make_schema(features)

    def fragments(self) -> Any:
        return self._table.fragments()

    def rows(self, fragment: Fragment) -> Iterator[Row | BadRow]:
        for row in self._table.rows(fragment):
            if isinstance(row, BadRow):
                raise unusable(row.location, row.reason)
            yield Row(self._key(row), self.values(row), row.location)

    def values(self, row: Row) -> dict[str, Any]:
        """
        Raises:
            DataError: a cell does not fit its column.
        """
        cells, missing = row.values, self._settings.missing_values
        values = {}
        name = ""
        try:
            for name, convert in self._columns:
                cell = cells[name]
                values[name] = convert(None if is_missing(cell, missing) else cell)
        except ValueError as error:
            raise DataError(
                f"{row.location}: column {name!r}: {error}. Correct it, or name the column in data.categorical, or "
                "what stands for no value in data.missing_values."
            ) from None
        if self._target is not None:
            values[self._target] = self._target_value(row, self._target)
        return values

    def _target_value(self, row: Row, target: str) -> int | float:
        cell = row.values[target]
        if is_missing(cell, self._settings.missing_values):
            reason = "has no value, and a row without one teaches nothing"
        else:
            try:
                if not self._classes:
                    return number_of(cell)
                number = self._classes.get(category_of(cell))
                if number is not None:
                    return number
                reason = f"the class {category_of(cell)!r} is none of {', '.join(self._classes)}"
            except ValueError as error:
                reason = str(error)
        raise unusable(row.location, f"column {target!r}: {reason}")

    def _key(self, row: Row) -> str:
        """Rows of a group have the same, so they are in the same split."""
        group = self._settings.group
        if group is None or self._target is None:
            return row.key
        cell = row.values[group]
        if is_missing(cell, self._settings.missing_values):
            return row.key
        return f"group {category_of(cell)}"


def target_feature(schema: TableSchema) -> Feature:
    if schema.task == "regression":
        return Feature("tensor", "float32")
    return Feature("label", class_names=schema.classes)


def with_classes(
    where: str, table: RawTable, schema: TableSchema, settings: TableSettings
) -> TableSchema:
    """The schema with all classes of the target, which is read from beginning to end for them.

    Raises:
        DataError: there is one class, or so many that they are hardly classes.
        ConfigError: `settings.positive` is none of two, or there are more.
    """
    if schema.task == "regression":
        if settings.positive is not None:
            raise ConfigError(
                f"data.positive={settings.positive}: {schema.target!r} is predicted as a number, which has no "
                "positive class. Leave it out, or set data.task=binary."
            )
        return schema
    found: set[str] = set()
    for row in _all_rows(table):
        cell = row.values[schema.target]
        if not is_missing(cell, settings.missing_values):
            try:
                found.add(category_of(cell))
            except ValueError as error:
                raise unusable(row.location, f"column {schema.target!r}: {error}") from None
        if len(found) > _MAX_CLASSES:
            raise DataError(
                f"{where}: the column {schema.target!r} has more than {_MAX_CLASSES} different values, so it is "
                "hardly a class. Predict it as a number with data.task=regression."
            )
    classes = sorted(found, key=_as_people_sort)
    if len(classes) < 2:
        shown = f"only the class {classes[0]!r}" if classes else "no value"
        raise DataError(
            f"{where}: the column {schema.target!r} has {shown}, and at least two classes are needed."
        )
    task: Literal["binary", "multiclass"] = "binary" if len(classes) == 2 else "multiclass"
    if settings.task != "auto" and settings.task != task:
        raise DataError(
            f"{where}: the column {schema.target!r} has {len(classes)} classes, which is no {settings.task} task. "
            "Leave data.task at auto."
        )
    if settings.positive is not None:
        if settings.positive not in classes or task != "binary":
            raise DataError(
                f"data.positive={settings.positive}: it is one of two classes, and the column {schema.target!r} has "
                f"{', '.join(classes[:20])}."
            )
        classes.remove(settings.positive)
        classes.append(settings.positive)
    return schema.with_classes(task, tuple(classes))


def _all_rows(table: RawTable) -> Iterator[Row]:
    for fragment in table.fragments():
        for row in table.rows(fragment):
            if isinstance(row, BadRow):
                raise unusable(row.location, row.reason)
            yield row


def all_rows(table: RawTable) -> Sequence[Row]:
    """In memory.

    Raises:
        DataError: a row cannot be used.
    """
    return list(_all_rows(table))


def _number(cell: Any) -> float:
    return math.nan if cell is None else number_of(cell)


def _category(cell: Any) -> bytes:
    return b"" if cell is None else category_of(cell).encode()


def _as_people_sort(text: str) -> tuple[bool, float, str]:
    """2 before 10, and numbers before words."""
    try:
        return False, number_of(text), text
    except ValueError:
        return True, 0.0, text
