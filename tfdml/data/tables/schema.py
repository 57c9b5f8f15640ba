"""What the columns of a table were when a model was trained on it; whether another table still has them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from tfdml.data.tables.cells import category_of, is_missing, number_of
from tfdml.data.tables.settings import TableSettings
from tfdml.errors import ConfigError, DataError

Kind = Literal["numeric", "categorical"]
# What the cells of a column look like, which is not always what they are taken for; "" where all are missing.
Look = Literal["numbers", "texts", ""]

_ERRORS = 0.02  # of the cells looked at may be of another kind than their column
_MAX_CLASSES_OF_NUMBERS = 20


@dataclass(frozen=True)
class Column:
    """A feature."""

    name: str
    kind: Kind
    look: Look


@dataclass(frozen=True)
class TableSchema:
    """The features and the target of a table.

    Attributes:
        classes: of a target that is a class, in the order of their numbers; of two the positive one is the last.
        window: rows of a window; 0 where a row stands for itself.
        machine, time: with windows the columns that these are, else "".
    """

    columns: tuple[Column, ...]
    target: str
    task: Literal["binary", "multiclass", "regression"]
    classes: tuple[str, ...] = ()
    window: int = 0
    machine: str = ""
    time: str = ""

    @property
    def numeric(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.kind == "numeric")

    @property
    def categorical(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.kind == "categorical")

    def with_classes(
        self, task: Literal["binary", "multiclass"], classes: tuple[str, ...]
    ) -> TableSchema:
        return replace(self, task=task, classes=classes)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TableSchema:
        columns = tuple(Column(**column) for column in values["columns"])
        return cls(**{**values, "columns": columns, "classes": tuple(values["classes"])})

    def check(
        self,
        where: str,
        rows: Sequence[Mapping[str, Any]],
        settings: TableSettings,
        *,
        needs_target: bool,
    ) -> None:
        """Refuse a table whose columns are no longer those of training; their order does not matter.

        Args:
            where: what the message calls the table.
            rows: some of its rows.

        Raises:
            DataError: one sentence that names every column that is missing, new, renamed or of another type.
        """
        there = [name for name in rows[0] if name not in settings.ignore]
        others = {self.target, *settings.special_columns}
        unnecessary = {settings.group} if needs_target else {settings.group, self.target}
        known = {column.name: None for column in self.columns}
        needed = (*known, *sorted(others - unnecessary))
        missing = [name for name in needed if name not in there]
        new = [name for name in there if name not in {*known, *others}]
        says = _renamed(missing, new) + [f"{name!r} is missing" for name in missing]
        says += [f"{name!r} is new" for name in new]
        for column in self.columns:
            if column.name in there:
                look = look_of([row[column.name] for row in rows], settings.missing_values)
                if look and column.look and look != column.look:
                    says.append(f"{column.name!r} had {column.look} and has {look}")
        if says:
            raise DataError(
                f"{where}: the columns have changed since the model was trained: {'; '.join(says)}. "
                "Give it the columns of training (data.ignore leaves out new ones), or train again."
            )


def infer(where: str, rows: Sequence[Mapping[str, Any]], settings: TableSettings) -> TableSchema:
    """The schema of a table, without its classes, by some of its rows and what the settings say.

    Raises:
        ConfigError: the settings name a column that is not there, or leave no feature.
        DataError: a column holds neither numbers nor texts.
    """
    names = list(rows[0])
    purposes = {
        "data.categorical": settings.categorical,
        "data.ignore": settings.ignore,
        "data.target": (settings.target,),
        "data.group": (settings.group,) if settings.group else (),
    }
    if settings.windows:
        purposes["data.windows.machine"] = (settings.windows.machine,)
        purposes["data.windows.time"] = (settings.windows.time,)
    for setting, asked in purposes.items():
        for name in asked:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                meant = f" Did you mean {near[0]!r}?" if near else ""
                shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
                raise ConfigError(
                    f"{setting}: {where} has no column {name!r}.{meant} It has {shown}."
                )
    columns = []
    for name in names:
        if name in settings.ignore or name in settings.special_columns:
            continue
        cells = [row[name] for row in rows]
        look = look_of(cells, settings.missing_values)
        if look == "texts":
            _check_texts(where, name, cells, settings)
        kind: Kind = "categorical" if look == "texts" or name in settings.categorical else "numeric"
        columns.append(Column(name, kind, look))
    if not columns:
        raise ConfigError(f"{where}: no column is left to learn from beside {settings.target!r}.")
    schema = TableSchema(tuple(columns), settings.target, _task(rows, settings))
    if settings.windows is None:
        return schema
    windows = settings.windows
    return replace(schema, window=windows.length, machine=windows.machine, time=windows.time)


def look_of(cells: Sequence[Any], missing_values: Sequence[str]) -> Look:
    """Numbers, but for a few, which are errors then; else texts."""
    there = [cell for cell in cells if not is_missing(cell, missing_values)]
    others = sum(not _is_number(cell) for cell in there)
    if not there:
        return ""
    return "numbers" if others <= len(there) * _ERRORS else "texts"


def _is_number(cell: Any) -> bool:
    try:
        number_of(cell)
    except ValueError:
        return False
    return True


def _check_texts(where: str, name: str, cells: Sequence[Any], settings: TableSettings) -> None:
    for cell in cells:
        if not is_missing(cell, settings.missing_values):
            try:
                category_of(cell)
            except ValueError as error:
                raise DataError(
                    f"{where}: column {name!r}: {error}, nor a number. Leave it out with data.ignore."
                ) from None


def _task(rows: Sequence[Mapping[str, Any]], settings: TableSettings) -> Any:
    """The task as far as some rows show it; whether there are two classes or more is seen later."""
    if settings.windows is not None:
        return "binary"
    if settings.task != "auto":
        return settings.task
    cells = [row[settings.target] for row in rows]
    if look_of(cells, settings.missing_values) == "texts":
        return "multiclass"
    there = [cell for cell in cells if not is_missing(cell, settings.missing_values)]
    values = {number_of(cell) for cell in there if _is_number(cell)}
    whole = all(value.is_integer() for value in values)
    return "multiclass" if whole and len(values) <= _MAX_CLASSES_OF_NUMBERS else "regression"


def _renamed(missing: list[str], new: list[str]) -> list[str]:
    """Pairs that look like one column with another name; they are taken off both lists."""
    says = []
    for name in list(missing):
        near = difflib.get_close_matches(name, new, n=1)
        if near:
            says.append(f"{name!r} is now {near[0]!r}")
            missing.remove(name)
            new.remove(near[0])
    return says
