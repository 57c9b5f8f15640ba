"""What is known of a table that a model was trained on: its columns, and what the training split is like."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tfdml.data.conversion.splits import TRAIN
from tfdml.data.format.dataset_manifest import FILE_NAME as MANIFEST
from tfdml.data.format.dataset_manifest import DatasetManifest
from tfdml.data.tables.categories import FILE_NAME as CATEGORIES
from tfdml.data.tables.schema import TableSchema
from tfdml.errors import DataError
from tfdml.shared_files import appears_when_whole

FILE_NAME = "table.json"


@dataclass(frozen=True)
class Facts:
    """Of the training split: all that preprocessing layers have to know, the same on every task.

    Attributes:
        mean, deviation: of each numeric column, of the values that are there; a deviation of 0 is given as 1.
        missing: of each numeric column, how many values are not there.
        categories: categorical column -> its values, most frequent first.
        class_counts: rows of each class.
        target_mean, target_deviation: of a target that is a number, else 0 and 1.
        num_train: rows, or windows.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    missing: tuple[int, ...]
    categories: dict[str, tuple[str, ...]]
    class_counts: tuple[int, ...]
    target_mean: float
    target_deviation: float
    num_train: int

    @classmethod
    def of_shards(cls, directory: Path, schema: TableSchema) -> Facts:
        """Out of the manifest and the side files of a conversion.

        Raises:
            DataError: a numeric column has no value in training.
        """
        manifest = DatasetManifest.from_bytes((directory / MANIFEST).read_bytes())
        measures = manifest.statistics[TRAIN]
        measured = {name: each["value"] for name, each in measures.items() if "value" in each}
        numeric = [measured[name] for name in schema.numeric]
        for name, summary in zip(schema.numeric, numeric, strict=True):
            if not summary.count:
                raise DataError(
                    f"column {name!r} has no value in training, so nothing can be learned from it. "
                    "Leave it out with data.ignore."
                )
        found: dict[str, list[str]] = {}
        if schema.categorical:
            found = json.loads((directory / CATEGORIES).read_text(encoding="utf-8"))
        histogram = manifest.label_histogram[TRAIN].get(schema.target, {})
        target = measured.get(schema.target)
        return cls(
            tuple(summary.mean for summary in numeric),
            tuple(summary.std or 1.0 for summary in numeric),
            tuple(summary.not_finite for summary in numeric),
            {name: tuple(values) for name, values in found.items()},
            tuple(histogram.get(number, 0) for number in range(len(schema.classes))),
            target.mean if target else 0.0,
            (target.std or 1.0) if target else 1.0,
            manifest.num_records(TRAIN),
        )


@dataclass(frozen=True)
class TrainedTable:
    """What lies beside a model: the file table.json."""

    schema: TableSchema
    facts: Facts

    def write(self, directory: Path) -> None:
        values = {"schema": self.schema.to_json(), "facts": asdict(self.facts)}
        with appears_when_whole(directory / FILE_NAME) as file:
            file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> TrainedTable:
        """
        Raises:
            DataError: there is none, or it is damaged.
        """
        path = directory / FILE_NAME
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(TableSchema.from_json(values["schema"]), _facts(values["facts"]))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from None
        except (ValueError, TypeError, KeyError):
            raise DataError(f"{path}: damaged. Train the model again.") from None


def _facts(values: dict[str, Any]) -> Facts:
    tuples: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
    tuples["categories"] = {name: tuple(v) for name, v in values["categories"].items()}
    return Facts(**tuples)
