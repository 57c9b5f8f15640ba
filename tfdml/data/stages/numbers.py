"""Tensors to another dtype."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tfdml.data.format.features import FLOATS, INTEGERS, Schema
from tfdml.data.inputs.array_values import fit_dtype
from tfdml.data.stages.simple import OneFeature
from tfdml.data.stages.stage import feature_of
from tfdml.errors import ConfigError


@dataclass(frozen=True)
class Cast(OneFeature):
    """A tensor of another dtype; a number that does not fit makes a bad row."""

    feature: str
    dtype: str

    def __post_init__(self) -> None:
        allowed = (*INTEGERS, *FLOATS, "bool")
        if self.dtype not in allowed:
            raise ConfigError(
                f"--cast={self.feature}:{self.dtype}: the dtype is one of {', '.join(allowed)}."
            )

    def schema(self, schema: Schema) -> Schema:
        feature = feature_of(schema, self.feature, "cast", ("tensor",))
        if feature.dtype == "string":
            raise ConfigError(
                f"--cast: the feature {self.feature!r} holds strings. Read it as numbers with "
                f"--features={self.feature}:{self.dtype}."
            )
        return {**schema, self.feature: replace(feature, dtype=self.dtype, encoding="")}

    def change(self, value: np.ndarray) -> np.ndarray:
        before = np.asarray(value)
        if before.dtype.kind == "f" and self.dtype in INTEGERS and not np.isfinite(before).all():
            raise ValueError(f"it has a number that is not finite, and {self.dtype} has none")
        with np.errstate(over="ignore"):
            after = fit_dtype(before, self.dtype)
        finite = np.isfinite(before) if self.dtype in FLOATS else False
        if np.any(finite & ~np.isfinite(after.astype(np.float64))):
            raise ValueError(f"a number is too large for {self.dtype}")
        return after
