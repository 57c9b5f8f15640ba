"""An input of a conversion whose rows are windows: a tensor of as many values for each feature, and the label.

Beside these stand the machine, a text, and the time of the last row, float64, which nothing is to be learned from.
The whole table is held in memory, because a machine's rows may be anywhere in the files.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfdml.data.conversion.splits import TRAIN
from tfdml.data.format.features import Feature, Schema, make_schema
from tfdml.data.inputs.input import BadRow, Fragment, InputFile, Row
from tfdml.data.tables.cells import category_of, is_missing, number_of, time_of
from tfdml.data.tables.files import RawTable, unusable
from tfdml.data.tables.rows import TypedRows, all_rows, target_feature
from tfdml.data.tables.schema import TableSchema
from tfdml.data.tables.settings import TableSettings, WindowSettings
from tfdml.data.tables.windows import (
    TEST,
    cutoff_time,
    machines_for_testing,
    split_by_time,
    windows_of,
)
from tfdml.errors import DataError

_MACHINES_OF_A_FRAGMENT = 16


@dataclass(frozen=True)
class Machine:
    """Rows of one machine in the order of time: times [n], failed [n], columns [n] each."""

    name: str
    times: np.ndarray
    failed: np.ndarray
    columns: dict[str, np.ndarray]


class WindowRows:
    """Windows of the rows of a table, as `windows.py` says.

    Args:
        splits: whether windows are shared out to training and testing, or all are of one kind.
        has_target: whether the table says which machines failed; else every window is there, without a label.
    """

    def __init__(
        self,
        table: RawTable,
        schema: TableSchema,
        settings: TableSettings,
        *,
        splits: bool,
        has_target: bool,
    ):
        assert settings.windows is not None
        self._settings, self._windows = settings, settings.windows
        self._table, self._schema = table, schema
        self._splits, self._has_target = splits, has_target
        self.files: tuple[InputFile, ...] = table.files
        features = [
            (column.name, _feature(column.kind, settings.windows)) for column in schema.columns
        ]
        if has_target:
            features.append((schema.target, target_feature(schema)))
        features.append((self._windows.machine, Feature("text")))
        features.append((self._windows.time, Feature("tensor", "float64")))
        self.schema: Schema = make_schema(features)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("machines", "_in_splits")}

    def fragments(self) -> list[Fragment]:
        count = len(self.machines)
        name = self.files[0].path if self.files else "windows"
        row_bytes = 4 * len(self._schema.columns)
        return [
            Fragment(
                number,
                name,
                start,
                min(start + _MACHINES_OF_A_FRAGMENT, count),
                row_bytes * sum(len(m.times) for m in self.machines[start : start + 16]),
            )
            for number, start in enumerate(range(0, count, _MACHINES_OF_A_FRAGMENT))
        ]

    def split_bytes(self) -> dict[str, int]:
        """The windows of each split; the bytes are in proportion."""
        return {
            split: sum(list(of_machine).count(split) for _, _, of_machine in self._in_splits)
            for split in ((TRAIN, TEST) if self._splits else (TEST,))
        }

    def rows(self, fragment: Fragment) -> Iterator[Row | BadRow]:
        length = self._windows.length
        for machine, ends, splits in self._in_splits[fragment.start : fragment.stop]:
            for end, label, split in zip(ends.rows, ends.labels, splits, strict=True):
                if split:
                    window = slice(end - length + 1, end + 1)
                    values: dict[str, Any] = {n: c[window] for n, c in machine.columns.items()}
                    if self._has_target:
                        values[self._schema.target] = int(label)
                    values[self._windows.machine] = machine.name.encode()
                    values[self._windows.time] = machine.times[end]
                    key = f"{machine.name} at {machine.times[end]:g}"
                    yield Row(key, values, f"the window of {key}", split)

    @functools.cached_property
    def machines(self) -> list[Machine]:
        """
        Raises:
            DataError: a row cannot be used, or two of one machine have the same time.
        """
        typed = TypedRows(self._table, self._schema, self._settings, has_target=False)
        by_machine: dict[str, list[tuple[float, bool, Row]]] = {}
        for row in all_rows(self._table):
            name = self._cell(row, self._windows.machine, category_of)
            time = self._cell(row, self._windows.time, time_of)
            failed = self._has_target and self._cell(row, self._schema.target, number_of) != 0
            by_machine.setdefault(name, []).append((time, failed, row))
        machines = []
        for name, rows in by_machine.items():
            rows.sort(key=lambda each: each[0])
            times = np.array([time for time, _, _ in rows], np.float64)
            twice = np.flatnonzero(np.diff(times) == 0)
            if len(twice):
                raise unusable(
                    rows[twice[0] + 1][2].location,
                    f"another row of the machine {name!r} has the same time",
                )
            values = [typed.values(row) for _, _, row in rows]
            columns = {
                column.name: np.array(
                    [each[column.name] for each in values],
                    np.float32 if column.kind == "numeric" else object,
                )
                for column in self._schema.columns
            }
            failures = np.array([failed for _, failed, _ in rows], bool)
            machines.append(Machine(name, times, failures, columns))
        return machines

    def _cell(self, row: Row, name: str, convert: Any) -> Any:
        cell = row.values[name]
        try:
            if is_missing(cell, self._settings.missing_values):
                raise ValueError("has no value")
            return convert(cell)
        except ValueError as error:
            raise unusable(row.location, f"column {name!r}: {error}") from None

    @functools.cached_property
    def _in_splits(self) -> list[tuple[Machine, Any, list[str]]]:
        """(machine, its windows, their splits)."""
        machines, windows = self.machines, self._windows
        of_windows = [windows_of(m.times, m.failed, windows) for m in machines]
        splits: list[list[str]]
        if not self._splits:
            splits = [[TEST] * len(ends.rows) for ends in of_windows]
        elif windows.split_by == "time":
            all_times = np.concatenate([m.times for m in machines])
            cutoff = cutoff_time(all_times, self._settings.test_fraction)
            splits = [
                split_by_time(m.times, ends, windows, cutoff)
                for m, ends in zip(machines, of_windows, strict=True)
            ]
        else:
            tests = machines_for_testing([m.name for m in machines], self._settings.test_fraction)
            splits = [
                [TEST if m.name in tests else TRAIN] * len(ends.rows)
                for m, ends in zip(machines, of_windows, strict=True)
            ]
        if self._has_target:  # what nobody knows teaches and tests nothing
            splits = [
                ["" if label < 0 else split for label, split in zip(ends.labels, each, strict=True)]
                for ends, each in zip(of_windows, splits, strict=True)
            ]
        if not any(split for each in splits for split in each):
            raise DataError(
                f"There is no window of {windows.length} rows with a known end in {len(machines)} machines. "
                "Set a smaller data.windows.length or data.windows.horizon."
            )
        return list(zip(machines, of_windows, splits, strict=True))


def _feature(kind: str, windows: WindowSettings) -> Feature:
    return Feature("tensor", "float32" if kind == "numeric" else "string", (windows.length,))
