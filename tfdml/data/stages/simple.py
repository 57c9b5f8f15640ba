"""What stages that need no first pass and turn each row into one have in common; and renaming."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tfdml.data.format.features import Schema
from tfdml.data.inputs.input import BadRow, Row, Value
from tfdml.data.stages.stage import Rows, bad, feature_of
from tfdml.errors import ConfigError


class OneFeature(ABC):
    """A stage that changes one feature of each row.

    Attributes:
        feature: its name.
    """

    feature: str
    fitted: bool = True
    keeps_rows = True

    @property
    def features(self) -> tuple[str, ...]:
        return (self.feature,)

    @abstractmethod
    def change(self, value: Value) -> Value:
        """The new value; a ValueError says why there is none."""

    def apply(self, rows: Iterable[Row | BadRow], counts: Counter[str]) -> Rows:
        name, change = self.feature, self.change
        for row in rows:
            if isinstance(row, BadRow):
                yield row
                continue
            try:
                row.values[name] = change(row.values[name])
                row.record = None
            except ValueError as error:
                yield bad(row, name, error)
                continue
            yield row

    def describe(self) -> dict[str, Any]:
        return {"stage": type(self).__name__, **vars(self)}

    def side_files(self) -> dict[str, bytes]:
        return {}


@dataclass(frozen=True)
class Rename:
    """A feature gets another name."""

    old: str
    new: str
    fitted: bool = True
    keeps_rows = True

    @property
    def features(self) -> tuple[str, ...]:
        return (self.old, self.new)

    def schema(self, schema: Schema) -> Schema:
        feature_of(schema, self.old, "rename", ("image", "label", "text", "tensor"))
        if self.new in schema:
            raise ConfigError(
                f"--rename={self.old}:{self.new}: two features would have the name {self.new!r}."
            )
        return {self.new if name == self.old else name: each for name, each in schema.items()}

    def apply(self, rows: Iterable[Row | BadRow], counts: Counter[str]) -> Rows:
        for row in rows:
            if isinstance(row, Row):
                row.values[self.new] = row.values.pop(self.old)
                row.record = None
            yield row

    def describe(self) -> dict[str, Any]:
        return {"stage": "Rename", "old": self.old, "new": self.new}

    def side_files(self) -> dict[str, bytes]:
        return {}
