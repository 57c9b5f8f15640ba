"""From a table to shards, once: they are read by number from then on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from tfdml.data.conversion.request import Conversion, input_digest
from tfdml.data.conversion.run import convert
from tfdml.data.conversion.splits import TRAIN, Splits
from tfdml.data.format.dataset_manifest import FILE_NAME as MANIFEST
from tfdml.data.inputs.input import Input
from tfdml.data.tables import breast_cancer, machines
from tfdml.data.tables.categories import Categories
from tfdml.data.tables.files import RawTable, open_files, sample
from tfdml.data.tables.rows import TypedRows, with_classes
from tfdml.data.tables.schema import TableSchema, infer
from tfdml.data.tables.settings import TableSettings
from tfdml.data.tables.window_rows import WindowRows
from tfdml.data.tables.windows import CLASSES, TEST
from tfdml.errors import ConfigError, DataError
from tfdml.shared_files import appears_when_whole, one_process_at_a_time

SCHEMA = "schema.json"
_VERSION = 1
_ONE_SHARD_BYTES = 4 << 20


class Embedded(NamedTuple):
    """A table that needs no file."""

    open: Callable[[], RawTable]
    target: str
    licence: str
    source: str


EMBEDDED = {
    breast_cancer.NAME: Embedded(
        breast_cancer.BreastCancer,
        breast_cancer.TARGET,
        breast_cancer.LICENCE,
        breast_cancer.SOURCE,
    ),
    machines.NAME: Embedded(
        machines.Machines, machines.TARGET, "Apache-2.0", "made up by tfdml.data.tables.machines"
    ),
}


@dataclass(frozen=True)
class Job:
    """What is to be converted.

    Attributes:
        schema: of the model, which the table must have; None infers it, for training.
        splits: whether a part of the rows is for testing; else all are, or with no schema for training.
        has_target: False where nothing is known of the target (predictions).
    """

    dataset: str
    settings: TableSettings
    schema: TableSchema | None = None
    splits: bool = True
    has_target: bool = True


def prepare(job: Job, data_dir: Path) -> tuple[Path, TableSchema]:
    """The directory of the shards, converted now if nobody has, and their schema; many processes may call at once.

    It has another name for every state of the files and all that is said of them, so that none is ever stale.

    Raises:
        DataError: a row cannot be used, columns have changed, or the directory cannot be written.
        ConfigError: the settings do not fit the table.
    """
    table = open_raw(job.dataset, job.settings.delimiter)
    directory = data_dir / _directory_name(job, table)
    if job.schema is not None and job.splits:
        # The very rows of the training, where they are still there.
        before = data_dir / _directory_name(replace(job, schema=None), table)
        if _is_there(before) and _schema_of(before) == job.schema:
            return before, job.schema
    if not _is_there(directory):
        try:
            with one_process_at_a_time(data_dir / f".{directory.name}.lock"):
                if not _is_there(directory):
                    _convert(job, table, directory)
        except OSError as error:
            raise DataError(
                f"The table cannot be written to {directory}: {error.strerror or error}. "
                "Set data.data_dir to a directory that can be written."
            ) from None
    return directory, _schema_of(directory)


def default_target(dataset: str) -> str:
    """The target of an embedded table.

    Raises:
        ConfigError: of files, which do not say what is to be predicted.
    """
    if dataset in EMBEDDED:
        return EMBEDDED[dataset].target
    columns = list(open_raw(dataset, "").schema)
    shown = ", ".join(columns[:20]) + (", ..." if len(columns) > 20 else "")
    raise ConfigError(
        f"data.target is not set: which column of {dataset} is to be predicted? It has {shown}."
    )


def open_raw(dataset: str, delimiter: str) -> RawTable:
    if dataset in EMBEDDED:
        return EMBEDDED[dataset].open()
    try:
        return open_files(dataset, delimiter)
    except DataError as error:
        raise DataError(f"{error} data.dataset is that, or {' or '.join(EMBEDDED)}.") from None


def _is_there(directory: Path) -> bool:
    return (directory / MANIFEST).exists() and (directory / SCHEMA).exists()


def _schema_of(directory: Path) -> TableSchema:
    return TableSchema.from_json(json.loads((directory / SCHEMA).read_text(encoding="utf-8")))


def _directory_name(job: Job, table: RawTable) -> str:
    files = input_digest(table.files, versions=True)
    said = (_VERSION, job.dataset, files, astuple(job.settings), job.schema, job.splits)
    digest = hashlib.sha256(repr((*said, job.has_target)).encode()).hexdigest()
    return f"table-{_stem(job.dataset)}-{digest[:8]}"


def _stem(dataset: str) -> str:
    """A name for files."""
    return re.sub(r"[^A-Za-z0-9]+", "_", Path(dataset).stem).strip("_") or "table"


def _convert(job: Job, table: RawTable, directory: Path) -> None:
    settings, schema = job.settings, job.schema
    rows = sample(table)
    stages: tuple[Any, ...] = ()
    if schema is not None:
        schema.check(job.dataset, rows, settings, needs_target=job.has_target)
    else:
        schema = infer(job.dataset, rows, settings)
        if settings.windows is not None:
            schema = schema.with_classes("binary", CLASSES)
        else:
            schema = with_classes(job.dataset, table, schema, settings)
        if schema.categorical:
            counted = (schema.categorical, settings.max_categories, settings.min_category_count)
            stages = (Categories(*counted),)
    source: Input
    splits = None
    if settings.windows is not None:
        source = WindowRows(table, schema, settings, splits=job.splits, has_target=job.has_target)
    else:
        source = TypedRows(table, schema, settings, has_target=job.has_target)
        splits = _splits(job, schema)
    known = EMBEDDED.get(job.dataset)
    small = sum(fragment.size_bytes for fragment in source.fragments()) < _ONE_SHARD_BYTES
    convert(
        Conversion(
            source,
            str(directory),
            _stem(job.dataset),
            stages=stages,
            splits=splits,
            num_shards=1 if small else None,
            shuffle=job.splits,
            licence=known.licence if known else settings.licence,
            source=known.source if known else job.dataset,
        ),
        # Each process of windows would hold the whole table.
        num_processes=1 if settings.windows else None,
    )
    with appears_when_whole(directory / SCHEMA) as file:
        file.write_text(json.dumps(schema.to_json(), indent=2) + "\n", encoding="utf-8")


def _splits(job: Job, schema: TableSchema) -> Splits:
    if not job.splits:
        return Splits({TRAIN if job.schema is None else TEST: 1.0})
    fraction = job.settings.test_fraction
    # Groups have rows of several classes, whose bounds differ: a group would be cut.
    stratify = "" if schema.task == "regression" or job.settings.group else schema.target
    return Splits({TRAIN: 1 - fraction, TEST: fraction}, stratify=stratify)
