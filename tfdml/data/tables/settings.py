"""What a user says of a table: which column is to be predicted, and what is not to be guessed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tfdml.errors import ConfigError

Task = Literal["auto", "binary", "multiclass", "regression"]


@dataclass(frozen=True)
class WindowSettings:
    """Windows over time of the rows of each machine, labelled by whether it fails soon after.

    Attributes:
        machine: the column that says which machine a row is of.
        time: the column that orders its rows: numbers, or timestamps, which count in hours.
        length: rows of a window.
        horizon: a window is positive if the machine fails within this time after its last row.
        stride: rows from one window to the next.
        max_gap: a longer time between two rows ends the windows before it; 0 is none.
        split_by: "machine", other machines for testing; or "time", the same ones later on.
    """

    machine: str
    time: str
    length: int
    horizon: float
    stride: int = 1
    max_gap: float = 0.0
    split_by: Literal["machine", "time"] = "machine"

    def __post_init__(self) -> None:
        for name in ("length", "stride"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` of windows is at least 1, got {getattr(self, name)}.")
        if not self.horizon > 0 or self.max_gap < 0:
            raise ConfigError(
                f"`horizon` of windows is more than 0 and `max_gap` not less, got {self.horizon} and {self.max_gap}."
            )
        if self.machine == self.time:
            raise ConfigError(f"`machine` and `time` of windows are both {self.time!r}.")


@dataclass(frozen=True)
class TableSettings:
    """What is said of a table; everything else its cells show.

    Attributes:
        target: the column to predict; with windows the one that is true (or 1) in rows in which a machine failed.
        positive: of two classes the one that is looked for; default the last, in alphabetical order.
        task: auto takes texts, and whole numbers of up to 20 different values, as classes.
        categorical: columns of numbers that are categories.
        ignore: columns that are not used.
        group: rows with the same value in this column, which is not used else, are never split.
        missing_values: texts that stand for no value, beside the usual ones (empty, NA, NaN, null, ...).
        delimiter: between the fields of CSV; default by the file's extension.
        max_categories: of a column; the most frequent ones have a number of their own.
        min_category_count: what is rarer than this in training has none.
        test_fraction: the part of all rows, or of machines or of time, that is for testing.
        licence: of files, for the manifest.
    """

    target: str
    positive: str | None = None
    task: Task = "auto"
    categorical: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    group: str | None = None
    missing_values: tuple[str, ...] = ()
    delimiter: str = ""
    max_categories: int = 1000
    min_category_count: int = 2
    test_fraction: float = 0.2
    licence: str = ""
    windows: WindowSettings | None = None

    def __post_init__(self) -> None:
        if not 0 < self.test_fraction < 1:
            raise ConfigError(f"`test_fraction` must be in (0, 1), got {self.test_fraction}.")
        if self.windows is not None and self.group is not None:
            raise ConfigError(
                "`group` is for rows; windows are split by machine or by time. Leave it out."
            )
        both = set(self.special_columns) & {*self.categorical, *self.ignore}
        if both or set(self.categorical) & set(self.ignore):
            name = sorted(both or set(self.categorical) & set(self.ignore))[0]
            raise ConfigError(
                f"the column {name!r} is named for two purposes. Leave one of them out."
            )

    @property
    def special_columns(self) -> tuple[str, ...]:
        """Columns that are no features: the target, the group, the machine and the time."""
        windows = self.windows
        names = (self.target, self.group, *((windows.machine, windows.time) if windows else ()))
        return tuple(name for name in names if name)
