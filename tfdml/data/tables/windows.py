"""Windows over the life of a machine, and whether it fails soon after: which rows, which label, which split.

Nothing that a training window is made of, neither its rows nor the time that its label speaks of, reaches into a
window for testing: either they are of other machines, or all of it lies before the first row of any of those.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from tfdml.data.conversion.splits import TRAIN
from tfdml.data.tables.settings import WindowSettings
from tfdml.errors import DataError

TEST = "test"
CLASSES = ("keeps running", "fails soon")


@dataclass(frozen=True)
class Ends:
    """Windows of one machine, by the numbers of their last rows.

    Attributes:
        rows: int64 [n].
        labels: int64 [n]: 1 where the machine fails within the horizon after that row; -1 where nobody knows,
            because the data ends before.
    """

    rows: np.ndarray
    labels: np.ndarray


def windows_of(times: np.ndarray, failed: np.ndarray, settings: WindowSettings) -> Ends:
    """The windows of one machine.

    A window lies within one life: a failure ends it, and with the next row a repaired machine begins. The row of
    a failure is in no window, because there it has happened already. A gap ends windows, not lives.

    Args:
        times: float64 [n], ascending.
        failed: bool [n].
    """
    ends: list[np.ndarray] = []
    first = 0
    cuts = np.flatnonzero(failed)
    if settings.max_gap:
        cuts = np.union1d(cuts, np.flatnonzero(np.diff(times) > settings.max_gap))
    for cut in (*cuts.tolist(), len(times) - 1):
        stop = cut if failed[cut] else cut + 1
        ends.append(np.arange(first + settings.length - 1, stop, settings.stride))
        first = cut + 1
    rows = np.concatenate(ends).astype(np.int64)
    failures = times[failed]
    following = np.searchsorted(failures, times[rows], side="right")
    next_failure = np.append(failures, np.inf)[following]
    labels = (next_failure - times[rows] <= settings.horizon).astype(np.int64)
    unknown = (labels == 0) & (times[rows] + settings.horizon > times[-1])
    return Ends(rows, np.where(unknown, -1, labels))


def split_by_time(
    times: np.ndarray, ends: Ends, settings: WindowSettings, cutoff: float
) -> list[str]:
    """The split of each window of one machine; "" for those that are of neither side.

    Training windows end a horizon before the cutoff, so that their labels were known by then; windows for testing
    begin at it or later.
    """
    last, first = times[ends.rows], times[ends.rows - settings.length + 1]
    trains, tests = last + settings.horizon < cutoff, first >= cutoff
    return np.where(trains, TRAIN, np.where(tests, TEST, "")).tolist()


def cutoff_time(times: np.ndarray, test_fraction: float) -> float:
    """Where testing begins: that part of all rows, [n] of all machines, is not before it."""
    ordered = np.sort(times)
    return float(ordered[min(len(ordered) - 1, round(len(ordered) * (1 - test_fraction)))])


def machines_for_testing(machines: list[str], test_fraction: float) -> frozenset[str]:
    """Those for testing, by a hash of their names: at least one, and not all.

    Raises:
        DataError: there are fewer than two.
    """
    if len(machines) < 2:
        raise DataError(
            f"There {'is one machine' if machines else 'are no machines'}, so none is left for testing. "
            "Split by time instead, with data.windows.split_by=time."
        )
    count = min(max(1, round(len(machines) * test_fraction)), len(machines) - 1)
    digest = lambda name: hashlib.blake2b(name.encode(), digest_size=8).digest()
    return frozenset(sorted(machines, key=digest)[:count])
