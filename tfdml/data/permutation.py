"""A pseudo-random permutation that is evaluated point by point: a shuffle without a buffer, in NumPy.

The permutation is that of TensorFlow's op `RandomIndexShuffle` (a Simon block cipher of just enough bits, repeated
until it falls below the size, https://www.cs.ucdavis.edu/~rogaway/papers/subset.pdf), so that a graph finds the same
records as this module; `in_graph.py` calls the op. The public `tf.random.experimental.index_shuffle` makes 4 rounds,
which leave a million indices visibly in order (neighbours are correlated by 0.4); here it is 16.

Keys and per-record seeds are hashes of (seed, what for, numbers), because keys that are close to each other give
permutations that are.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from tfdml.errors import ConfigError

ROUNDS = 16

# What a hash is for, its first input. Part of the order of every data set: do not change.
OF_RECORD = 1
OF_STEP = 2
OF_EPOCH = 3
OF_SHARDS = 4
OF_WINDOW = 5
OF_PASS = 6

SORTED_UP_TO = 256

_SCHEDULE = 0x7369F885192C0EF5
_SMALLEST_BITS = 16
_LARGEST_SIZE = 1 << 40  # log2 is exact enough for the op up to here


def permuted(index: np.ndarray, size: int, key: tuple[int, int, int]) -> np.ndarray:
    """The elements at positions `index` (int64 [n], each below `size`) of the permutation of range(size)."""
    index = np.asarray(index, np.int64)
    if size <= 1 << _SMALLEST_BITS:
        return _whole_permutation(size, key)[index]
    domain = domain_of(size)
    bits = block_bits(domain)
    rounds = _round_keys(key, bits // 2)
    result = index.copy()
    left = np.arange(len(index))
    while len(left):
        result[left] = _encrypt(result[left], rounds, bits // 2)
        left = left[result[left] >= size]
    return result


def permuted_at_any_size(
    index: np.ndarray, size: int, seed: int, purpose: int, *numbers: int
) -> np.ndarray:
    """As `permuted` with the key of `numbers`; for sizes that are small for a cipher by sorting hashes.

    The cipher has at least 16 bits, so among 10 elements it would walk thousands of steps for one.
    """
    if size > SORTED_UP_TO:
        return permuted(index, size, key_of(seed, purpose, *numbers))
    hashes = mix(_hash(seed, purpose, *numbers), np.arange(size).astype(np.uint64))
    return np.argsort(hashes.view(np.int64), kind="stable")[np.asarray(index, np.int64)]


def check_size(size: int) -> None:
    """Raises ConfigError for a size that cannot be permuted."""
    if not 1 <= size <= _LARGEST_SIZE:
        raise ConfigError(
            f"the number of records to shuffle must be in [1, 2**40], got {size}. Check the data set."
        )


def domain_of(size: int) -> int:
    """How many elements TensorFlow's op must be asked to permute so that it permutes range(size).

    One more where size - 1 is a power of 4 (and at least 4**8): there the op's cipher has one bit too few, and
    takes two indices to one. The element that is too many is skipped.
    """
    bits = (size - 1).bit_length()
    broken = size - 1 >= 1 << _SMALLEST_BITS and size - 1 == 1 << (bits - 1) and bits % 2 == 1
    return size + 1 if broken else size


def block_bits(size: int) -> int:
    """The block size of the cipher in TensorFlow's op, for range(size)."""
    bits = math.ceil(math.log2(size - 1)) if size > 1 else 0
    return max(bits + bits % 2, _SMALLEST_BITS)


def key_of(seed: int, purpose: int, *numbers: int) -> tuple[int, int, int]:
    """The key of a permutation; `numbers` are, say, an epoch."""
    state = _hash(seed, purpose, *numbers)
    low, high = int(state[0]) & 0xFFFFFFFF, int(state[0]) >> 32
    return low, high, int(mix(state, _state(0))[0]) & 0xFFFFFFFF


def record_seeds(seed: int, visits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """int32 [n, 2]: the seed for what is random about record ids[i] when it is read for the visits[i]-th time.

    The same as `augment.seeds.record_seed` in a graph.
    """
    state = mix(_state(OF_RECORD), _state(seed))
    for numbers in (visits, ids):
        state = mix(state, np.asarray(numbers, np.int64).astype(np.uint64))
    return state.view(np.int32).reshape(-1, 2)


def mix(state: np.ndarray, value: np.ndarray) -> np.ndarray:
    """One more number into a hash: a round of SplitMix64 (Steele, Lea, Flood 2014), uint64 arrays."""
    state = (state ^ value) + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _hash(seed: int, purpose: int, *numbers: int) -> np.ndarray:
    state = _state(purpose)
    for value in (seed, *numbers):
        state = mix(state, _state(value))
    return state


def _state(value: int) -> np.ndarray:
    return np.array([value % 2**64], np.uint64)


@functools.lru_cache(maxsize=16)
def _whole_permutation(size: int, key: tuple[int, int, int]) -> np.ndarray:
    """All of it, for sizes whose walks through 65536 elements would be long."""
    if size == 1:
        return np.zeros(1, np.int64)
    block = 1 << _SMALLEST_BITS
    half = _SMALLEST_BITS // 2
    after = _encrypt(np.arange(block, dtype=np.int64), _round_keys(key, half), half)
    # Where a walk from x ends: elements below `size` stay, the others jump twice as far each time.
    ends = np.where(np.arange(block) < size, np.arange(block), after)
    while (ends[after[:size]] >= size).any():
        ends = ends[ends]
    result = ends[after[:size]]
    result.setflags(write=False)
    return result


def _round_keys(key: tuple[int, int, int], half: int) -> list[int]:
    mask = (1 << half) - 1
    keys = [word & mask for word in key]
    constant, schedule = 0xFFFFFFFC & mask, _SCHEDULE & mask
    for i in range(3, ROUNDS):
        last = keys[i - 1]
        keys.append(
            constant
            ^ (schedule & 1)
            ^ keys[i - 3]
            ^ _rotated(last, half - 3, half, mask)
            ^ _rotated(last, half - 4, half, mask)
        )
        schedule >>= 1
    return keys


def _rotated(value: int, by: int, half: int, mask: int) -> int:
    return ((value << by) | (value >> (half - by))) & mask


def _encrypt(values: np.ndarray, round_keys: list[int], half: int) -> np.ndarray:
    """int64 [n] below 4**half -> the same range, a permutation of it."""
    mask = (1 << half) - 1

    def f(x: np.ndarray) -> np.ndarray:
        by1 = (x << 1) | (x >> (half - 1))
        by8 = (x << 8) | (x >> (half - 8))
        by2 = (x << 2) | (x >> (half - 2))
        return ((by1 & by8) ^ by2) & mask

    left, right = values >> half, values & mask
    for i in range(0, len(round_keys), 2):
        left = left ^ f(right) ^ round_keys[i]
        right = right ^ f(left) ^ round_keys[i + 1]
    return (left << half) | right
