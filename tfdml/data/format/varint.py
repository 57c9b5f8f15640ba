"""Protocol-buffer varints: one in Python, many at once in NumPy."""

from __future__ import annotations

import numpy as np

_MAX_BYTES = 10  # of a 64-bit number, 7 bits each
_FEW = 8  # up to so many the loop in Python is faster


def varint(number: int) -> bytes:
    """The bytes of one unsigned number below 2^64; a negative one is given as number + 2^64."""
    if number < 0x80:
        return bytes((number,))
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def varints(numbers: np.ndarray) -> bytes:
    """int64 [n] -> their varints one after the other, as a packed repeated field has them."""
    if len(numbers) <= _FEW:
        return b"".join([varint(n & 0xFFFFFFFFFFFFFFFF) for n in numbers.tolist()])
    rest = np.ascontiguousarray(numbers, np.int64).view(np.uint64)
    top = int(rest.max())
    if top < 0x80:
        return rest.astype(np.uint8).tobytes()
    columns = -(-top.bit_length() // 7)
    octets = np.empty((len(rest), columns), np.uint8)
    used = np.empty((len(rest), columns), np.bool_)
    for column in range(columns):
        used[:, column] = True if column == 0 else rest != 0
        octets[:, column] = rest & np.uint64(0x7F)
        rest = rest >> np.uint64(7)
    octets[:, :-1] |= used[:, 1:].view(np.uint8) << np.uint8(7)  # the bit that says: goes on
    return octets[used].tobytes()


def read_varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """The varint at `position` and the position behind it.

    Raises:
        IndexError, ValueError: for data that ends within it, or more than 10 bytes of it.
    """
    value = data[position]
    if value < 0x80:
        return value, position + 1
    value = shift = 0
    while True:
        octet = data[position]
        position += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
        if shift >= 7 * _MAX_BYTES:
            raise ValueError("a varint of more than 10 bytes")


def read_varints(data: bytes | memoryview) -> np.ndarray:
    """A packed repeated field -> int64 [n].

    Raises:
        ValueError: for data that ends within a varint, or one of more than 10 bytes.
    """
    if len(data) <= 2 * _FEW:
        if not data:
            return np.zeros(0, np.int64)
        if data[-1] < 0x80:
            few, position = [], 0
            while position < len(data):
                number, position = read_varint(data, position)
                few.append(number)
            return np.array(few, np.uint64).view(np.int64)
    octets = np.frombuffer(data, np.uint8)
    if octets[-1] >= 0x80:
        raise ValueError("a list of integers ends within one")
    ends = np.flatnonzero(octets < 0x80) + 1
    if len(ends) == len(octets):
        return octets.astype(np.int64)
    starts = np.concatenate(([0], ends[:-1]))
    lengths = ends - starts
    longest = int(lengths.max())
    if longest > _MAX_BYTES:
        raise ValueError("a varint of more than 10 bytes")
    values = np.zeros(len(starts), np.uint64)
    for column in range(longest):
        here = lengths > column
        part = (octets[starts[here] + column] & 0x7F).astype(np.uint64)
        values[here] |= part << np.uint64(7 * column)
    return values.view(np.int64)
