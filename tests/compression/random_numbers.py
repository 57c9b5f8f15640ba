"""The random numbers of stochastic rounding, in plain Python integers."""

from __future__ import annotations

_MASK = 0xFFFFFFFF


def _hash(x: int) -> int:
    x ^= x >> 16
    x = x * 0x7FEB352D & _MASK
    x ^= x >> 15
    x = x * 0x846CA68B & _MASK
    return x ^ x >> 16


def uniform(index: int, seed: tuple[int, int]) -> float:
    first = _hash((seed[0] + 0x9E3779B9) & _MASK)
    second = _hash((_hash(first ^ seed[1] & _MASK) + 0x9E3779B9) & _MASK)
    return (_hash(_hash((index + first) & _MASK) ^ second) >> 8) / 2**24
