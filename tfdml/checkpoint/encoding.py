"""A variable or array as bytes and back, bit for bit, whatever its dtype.

Numbers are stored as they lie in memory (little endian), strings as their lengths followed by their bytes.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import ml_dtypes  # noqa: F401  np.dtype("bfloat16") and its like exist once this is imported
import numpy as np

STRING = "string"

assert sys.byteorder == "little", "the files of snapshots are little endian"


def host_array(value: Any) -> np.ndarray:
    """`value` (array, tensor, variable of TensorFlow or Keras, number) in host memory.

    A tensor on the CPU is not copied: the array is a view, good until the variable changes.
    """
    inner = value
    while hasattr(inner, "value"):  # keras.Variable -> tf.Variable -> tensor
        inner = inner.value() if callable(inner.value) else inner.value
    # `numpy()` of a tensor copies; `__array__` does not, where the tensor is in host memory. It fails for a single
    # bfloat16 (TensorFlow 2.21).
    array = np.asarray(inner.numpy() if _is_single_tensor(inner) else inner)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array if array.flags.c_contiguous else array.copy(order="C")


def _is_single_tensor(value: Any) -> bool:
    return hasattr(value, "numpy") and value.shape.rank == 0


def dtype_name(array: np.ndarray) -> str:
    """What the files call the array's dtype."""
    return STRING if array.dtype.kind in "OSU" else array.dtype.name


def as_bytes(array: np.ndarray) -> np.ndarray:
    """The bytes to store, uint8 [n]: a view of `array` unless it holds strings."""
    if dtype_name(array) == STRING:
        texts = [each.encode() if isinstance(each, str) else bytes(each) for each in array.ravel()]
        lengths = np.array([len(text) for text in texts], np.uint64)
        return np.frombuffer(lengths.tobytes() + b"".join(texts), np.uint8)
    return array.reshape(-1).view(np.uint8)


def from_bytes(data: np.ndarray, dtype: str, shape: list[int]) -> np.ndarray:
    """The array whose bytes `data` (uint8 [n]) are; a view of `data` unless it holds strings.

    Raises:
        ValueError, TypeError: the bytes cannot be of that dtype and shape.
    """
    count = math.prod(shape)
    if dtype == STRING:
        lengths = data[: 8 * count].view(np.uint64)
        ends = 8 * count + np.cumsum(lengths, dtype=np.uint64)
        texts = np.empty(count, object)
        for number, (end, length) in enumerate(zip(ends, lengths, strict=True)):
            texts[number] = data[int(end - length) : int(end)].tobytes()
        return texts.reshape(shape)
    return data.view(np.dtype(dtype)).reshape(shape)
