"""What a stage is: a change of rows and of the schema, perhaps after a first pass over the data.

Every stage gives the same rows for the same rows, keeps few of them in memory, and lets rows that are
already bad through. It may change rows in place.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tfdml.data.inputs.input import BadRow, Row
from tfdml.errors import ConfigError

if TYPE_CHECKING:
    from tfdml.data.format.features import Feature, Schema

Rows = Iterator[Row | BadRow]


class Stage(Protocol):
    """A step of preprocessing. Instances are pickled and sent to the processes that convert.

    Attributes:
        features: the features that it reads or changes, for finding out what can be fitted together.
        fitted: False while it needs a first pass.
        keeps_rows: whether every row becomes one row, with the same key.
    """

    features: tuple[str, ...]
    fitted: bool
    keeps_rows: bool

    def schema(self, schema: Schema) -> Schema:
        """The schema of what `apply` gives.

        Raises:
            ConfigError: for a feature that is not there, or is of a kind that the stage cannot change.
        """
        ...

    def apply(self, rows: Iterable[Row | BadRow], counts: Counter[str]) -> Rows:
        """The rows of one fragment, changed. What is worth reporting is added to `counts`."""
        ...

    def describe(self) -> dict[str, Any]:
        """What was done, as JSON, for the manifest; with what the first pass found."""
        ...

    def side_files(self) -> dict[str, bytes]:
        """Files to be written beside the data set: name -> content, such as a vocabulary."""
        ...


class FittedStage(Stage, Protocol):
    """A stage that has to see the data first."""

    def start(self) -> Any:
        """What the pass over one fragment starts from; small and picklable."""
        ...

    def observe(self, partial: Any, row: Row) -> None:
        """Add a row to it, in place."""
        ...

    def combine(self, total: Any, partial: Any) -> None:
        """Add the result of the next fragment to `total`, in place; fragments come in their order."""
        ...

    def fit(self, total: Any) -> FittedStage:
        """The fitted stage."""
        ...


def apply_stages(
    stages: Sequence[Stage], rows: Iterable[Row | BadRow], counts: Counter[str]
) -> Rows:
    """All stages, one after the other."""
    for stage in stages:
        rows = stage.apply(rows, counts)
    return iter(rows)


def schema_after(stages: Sequence[Stage], schema: Schema) -> Schema:
    for stage in stages:
        schema = stage.schema(schema)
    return schema


def needs_fitting(stages: Sequence[Stage]) -> bool:
    """Whether a first pass is needed: `fit_fragment` on every fragment, then `merge_fits`, until it is not."""
    return not all(stage.fitted for stage in stages)


def fit_fragment(stages: Sequence[Any], rows: Iterable[Row | BadRow]) -> list[Any]:
    """The first pass over one fragment: a partial result for each stage that this pass can fit."""
    together = _fitted_by_next_pass(stages)
    partials = {index: stages[index].start() for index in together}
    ignored: Counter[str] = Counter()
    waiting: set[str] = set()  # features of which it is not yet known what they will be
    for index, stage in enumerate(stages[: max(together) + 1]):
        if index in partials:
            rows = _observed(stage, partials[index], rows)
        elif stage.fitted and waiting.isdisjoint(stage.features):
            rows = stage.apply(rows, ignored)
        waiting.update(() if stage.fitted else stage.features)
    for _ in rows:
        pass
    return list(partials.values())


def merge_fits(stages: Sequence[Any], partials: Iterable[list[Any]]) -> list[Stage]:
    """The stages after a first pass, given what `fit_fragment` returned, in the order of the fragments."""
    merged = list(stages)
    together = _fitted_by_next_pass(stages)
    totals = {index: stages[index].start() for index in together}
    for of_fragment in partials:
        for (index, total), partial in zip(totals.items(), of_fragment, strict=True):
            stages[index].combine(total, partial)
    for index, total in totals.items():
        merged[index] = stages[index].fit(total)
    return merged


def _fitted_by_next_pass(stages: Sequence[Any]) -> list[int]:
    """Those that need a pass and do not build on another that needs one."""
    together = []
    waiting: set[str] = set()
    for index, stage in enumerate(stages):
        if not stage.fitted:
            if waiting.isdisjoint(stage.features):
                together.append(index)
            waiting.update(stage.features)
    return together


def _observed(stage: Any, partial: Any, rows: Iterable[Row | BadRow]) -> Rows:
    for row in rows:
        if isinstance(row, Row):
            stage.observe(partial, row)
        yield row


def map_rows(function: Callable[[Row], Row | BadRow], rows: Iterable[Row | BadRow]) -> Rows:
    """For stages that turn each row into one: rows that are already bad pass."""
    for row in rows:
        yield function(row) if isinstance(row, Row) else row


def feature_of(schema: Schema, name: str, flag: str, kinds: Sequence[str]) -> Feature:
    """The feature that a flag names.

    Raises:
        ConfigError: when there is none of that name, or it is of another kind.
    """
    if name not in schema:
        near = difflib.get_close_matches(name, schema, n=1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"--{flag}: there is no feature {name!r}.{meant} There are {', '.join(schema)}."
        )
    feature = schema[name]
    if feature.kind not in kinds:
        raise ConfigError(
            f"--{flag}: the feature {name!r} is of the kind {feature.kind}, and this is for "
            f"{' and '.join(kinds)}."
        )
    return feature


def bad(row: Row, name: str, reason: object) -> BadRow:
    """The row, as one that a stage could not change."""
    value = row.values.get(name)
    content = value if isinstance(value, bytes) else repr(value).encode()
    return BadRow(row.location, f"feature {name!r}: {reason}", content)
