"""Dividing examples into training and test sets: by class, and always the same way."""

from __future__ import annotations

from collections.abc import Sequence


def stratified_split(labels: Sequence[int], test_fraction: float) -> tuple[list[int], list[int]]:
    """Indices for training and for testing; of each class, `test_fraction` is for testing.

    The test examples are spread evenly over each class's examples in their given order: with 0.2 it
    is every fifth one.
    """
    seen: dict[int, int] = {}
    train: list[int] = []
    test: list[int] = []
    for index, label in enumerate(labels):
        before = seen.get(label, 0)
        seen[label] = before + 1
        # Rounded, because 5 * 0.2 must not come out as 0.9999999.
        taken = int(round((before + 1) * test_fraction, 9)) - int(round(before * test_fraction, 9))
        (test if taken else train).append(index)
    return train, test
