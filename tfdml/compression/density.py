"""What codecs that send a part of the values have in common: how many, and that payloads have one chunk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import tensorflow as tf

from tfdml.errors import ConfigError


def check_density(name: str, density: float) -> None:
    """Refuse what is not a part of the whole."""
    if isinstance(density, bool) or not isinstance(density, int | float) or not 0 < density <= 1:
        raise ConfigError(
            f"`density` of {name} must be above 0 and at most 1, got {density!r}. "
            "0.01 sends one value in a hundred."
        )


def check_one_chunk(name: str, chunks: int) -> None:
    """Refuse a payload in parts."""
    if chunks != 1:
        raise no_two_phase(name)


def no_two_phase(name: str) -> ConfigError:
    return ConfigError(
        f"{name} has no two-phase form: encoding the sum again would lose what other replicas sent. "
        "Use the one_shot exchange."
    )


def selected_count(density: float, num_elements: int) -> int:
    """ceil(density * n), for the decimal number that was written: 0.01 of 700 is 7, not 8."""
    return math.ceil(Fraction(repr(float(density))) * num_elements)


def count_elements(tensors: Sequence[tf.Tensor]) -> int:
    return sum(tensor.shape.num_elements() for tensor in tensors)
