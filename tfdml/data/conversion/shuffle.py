"""A whole shuffle of a few records, as a pure function of its key: the same with every version of NumPy, for ever.

`tfdml.data.permutation` finds single elements of huge permutations; here all of a small one is wanted, which sorting
random numbers gives much sooner.
"""

from __future__ import annotations

import numpy as np

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def shuffled(count: int, *key: int) -> np.ndarray:
    """int64 [count]: range(count) in the random order that belongs to `key`, integers of any size."""
    state = len(key)
    for number in key:
        while True:
            state = _mixed(state ^ (number & _MASK))
            number >>= 64
            if not number:
                break
    values = np.arange(count, dtype=np.uint64) * np.uint64(_GOLDEN) + np.uint64(state)
    # Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014).
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(values ^ (values >> np.uint64(31)), kind="stable")


def _mixed(value: int) -> int:
    value = (value + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
