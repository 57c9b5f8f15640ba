"""Columns of one length as a file: CSV, JSON lines or Parquet, by the file's ending."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfdml.config.flags import TABLE_FORMATS
from tfdml.errors import ConfigError
from tfdml.shared_files import appears_when_whole


def write_table(file: Path, columns: Mapping[str, Sequence[Any]]) -> int:
    """Write `columns` into `file`, whole or not at all; returns the number of rows.

    Args:
        columns: name -> numbers, text, or for JSON lines and Parquet also lists, one for each row.

    Raises:
        ConfigError: the columns differ in length, or the file has another ending.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ConfigError(f"columns of a table must have one length, got {lengths}.")
    lists = {name: np.asarray(values).tolist() for name, values in columns.items()}
    with appears_when_whole(file) as partial:
        if file.suffix == ".csv":
            with partial.open("w", newline="", encoding="utf-8") as out:
                rows = csv.writer(out)
                rows.writerow(lists)
                rows.writerows(zip(*lists.values(), strict=True))
        elif file.suffix == ".jsonl":
            with partial.open("w", encoding="utf-8") as out:
                for row in zip(*lists.values(), strict=True):
                    line = dict(zip(lists, row, strict=True))
                    out.write(json.dumps(line, ensure_ascii=False) + "\n")
        elif file.suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.table(lists), partial)
        else:
            raise ConfigError(f"{file}: a table must end in {', '.join(TABLE_FORMATS)}.")
    return next(iter(lengths.values()))
