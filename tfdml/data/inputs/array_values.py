"""Arrays as a feature wants them: shape and dtype checked, nothing lost without a word."""

from __future__ import annotations

import numpy as np

from tfdml.data.format.features import INTEGERS


def numbers_or_none(values: np.ndarray) -> bool:
    return all(v is None or isinstance(v, int | float) for v in values.flat)


def kind_of(values: np.ndarray) -> str:
    return "text" if values.dtype.kind in "US" else "something else or nothing in places"


def check_shape(found: tuple[int, ...], wanted: tuple[int | None, ...]) -> None:
    if len(found) != len(wanted) or any(
        size is not None and size != there for size, there in zip(wanted, found, strict=True)
    ):
        shown = "x".join("?" if size is None else str(size) for size in wanted)
        raise ValueError(
            f"its shape is {'x'.join(map(str, found)) or 'that of a number'}, not {shown}"
        )


def fit_dtype(values: np.ndarray, dtype: str) -> np.ndarray:
    """The array as `dtype`, where that loses no more than a float's last digits."""
    target = wanted_dtype(dtype)
    if values.dtype == target:
        return values
    if dtype in INTEGERS and values.dtype.kind in "iub":
        low, high = limits(dtype)
        if values.size and (int(values.min()) < low or int(values.max()) > high):
            raise ValueError(f"a number does not fit into {dtype}")
    elif dtype in INTEGERS and values.dtype.kind == "f":
        if not np.array_equal(values, np.rint(values)):
            raise ValueError(f"it has fractions, and is read as {dtype}")
        low, high = limits(dtype)
        if values.size and not (low <= values.min().item() and values.max().item() <= high):
            raise ValueError(f"a number does not fit into {dtype}")
    elif dtype == "bool" and values.dtype.kind in "iuf" and not np.isin(values, (0, 1)).all():
        raise ValueError("it has other numbers than 0 and 1, and is read as bool")
    return values.astype(target)


def wanted_dtype(name: str) -> np.dtype:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def limits(dtype: str) -> tuple[int, int]:
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)
