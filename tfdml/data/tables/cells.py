"""One cell of a table: a number, a category, or nothing; of CSV always a text, of Parquet what it holds."""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import UTC, date, datetime
from numbers import Real
from typing import Any

from tfdml.data.inputs.values import MISSING, shown

_BOOLEANS = {"true": 1.0, "false": 0.0}
_SECONDS_PER_HOUR = 3600.0


def is_missing(cell: Any, missing: Collection[str] = ()) -> bool:
    """Whether it stands for no value; `missing` are texts that do so beside the usual ones."""
    if isinstance(cell, str):
        text = cell.strip()
        return text in MISSING or text in missing
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def number_of(cell: Any) -> float:
    """Of a cell that is there; true and false are 1 and 0.

    Raises:
        ValueError: it is none; infinities are none either.
    """
    if isinstance(cell, str):
        text = cell.strip()
        value = _BOOLEANS.get(text.lower())
        if value is None:
            try:
                value = math.nan if "_" in text else float(text)  # Python reads 1_000
            except ValueError:
                value = math.nan
    else:
        value = float(cell) if isinstance(cell, Real) else math.nan
    if not math.isfinite(value):
        raise ValueError(f"{shown(cell)} is no number")
    return value


def category_of(cell: Any) -> str:
    """Of a cell that is there. The number 5.0 is the category "5", as pandas has whole numbers with gaps.

    Raises:
        ValueError: it is neither a text nor a number.
    """
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "replace")
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, Real):
        number = float(cell)
        return str(int(number)) if number.is_integer() else str(number)
    raise ValueError(f"{shown(cell)} is no category")


def time_of(cell: Any) -> float:
    """A number as it is; a timestamp (ISO 8601, or of Parquet) in hours, of UTC where it has no zone.

    Raises:
        ValueError: it is neither.
    """
    try:
        return number_of(cell)
    except ValueError:
        pass
    when = cell
    if isinstance(cell, str):
        try:
            when = datetime.fromisoformat(cell.strip())
        except ValueError:
            raise ValueError(f"{shown(cell)} is neither a number nor a timestamp") from None
    if isinstance(when, date) and not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day)
    if not isinstance(when, datetime):
        raise ValueError(f"{shown(cell)} is neither a number nor a timestamp")
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return when.timestamp() / _SECONDS_PER_HOUR
