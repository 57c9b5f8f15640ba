"""From a table of interactions to shards, once: they are read by number from then on."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tfdml.data.conversion.request import Conversion, input_digest
from tfdml.data.conversion.run import convert
from tfdml.data.conversion.splits import Splits
from tfdml.data.format.dataset_manifest import FILE_NAME
from tfdml.data.interactions.numbered import TEST, TRAIN, Facts, NumberedInteractions, survey
from tfdml.data.interactions.tables import EMBEDDED, Embedded, Table, open_table
from tfdml.errors import DataError
from tfdml.shared_files import one_process_at_a_time

NUM_SHARDS = 4
FACTS = "interactions.npz"
_VERSION = 1


def prepare(dataset: str, data_dir: Path, test_fraction: float) -> tuple[Path, Facts, Table]:
    """The directory of the shards, converted now if nobody has; many processes may call at once.

    It has another name for every state of the files and every `test_fraction`, so that none is ever stale.

    Raises:
        DataError: a row cannot be used, there are too few, or the directory cannot be written.
    """
    table = open_table(dataset, data_dir)
    splits = Splits({TRAIN: 1 - test_fraction, TEST: test_fraction})
    directory = data_dir / _directory_name(dataset, table, test_fraction)
    if not _is_there(directory):
        try:
            with one_process_at_a_time(data_dir / f".{directory.name}.lock"):
                if not _is_there(directory):
                    _convert(dataset, table, splits, directory)
        except OSError as error:
            raise DataError(
                f"The interactions cannot be written to {directory}: {error.strerror or error}. "
                "Set data.data_dir to a directory that can be written."
            ) from None
    return directory, Facts.read(directory / FACTS), table


def _is_there(directory: Path) -> bool:
    return (directory / FILE_NAME).exists() and (directory / FACTS).exists()


def _directory_name(dataset: str, table: Table, test_fraction: float) -> str:
    own = table.input.truth if isinstance(table.input, Embedded) else dataset
    files = input_digest(table.input.files, versions=True)
    digest = hashlib.sha256(f"{_VERSION} {own} {files} {test_fraction}".encode()).hexdigest()
    stem = dataset if dataset == EMBEDDED else Path(dataset).stem
    return f"interactions-{re.sub(r'[^A-Za-z0-9]+', '_', stem)}-{digest[:8]}"


def _convert(dataset: str, table: Table, splits: Splits, directory: Path) -> None:
    facts = survey(table, splits)
    _check_size(dataset, facts)
    request = Conversion(
        NumberedInteractions(table, facts),
        str(directory),
        "interactions",
        splits=splits,
        num_shards=NUM_SHARDS,
        source=dataset,
    )
    convert(request)
    facts.write(directory / FACTS)


def _check_size(dataset: str, facts: Facts) -> None:
    if min(facts.num_train, facts.num_test) < NUM_SHARDS:
        raise DataError(
            f"{dataset} has {facts.num_train + facts.num_test} interactions, {facts.num_test} of them for testing, "
            f"and training and testing need at least {NUM_SHARDS} each. Give more of them, or another "
            "data.test_fraction."
        )
    users, items = len(facts.user_ids), len(facts.item_ids)
    if min(users, items) < 2:
        raise DataError(
            f"{dataset} has {users} users and {items} items, and at least 2 of each are needed. "
            "Are the columns user, item, rating, timestamp?"
        )
