"""The factor on the loss that keeps float16 gradients from vanishing, and what becomes of it from step to step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from tfdml.errors import ConfigError, TrainingError


@dataclass(frozen=True)
class LossScale:
    """How the loss is scaled, Micikevicius et al. 2018 (Mixed Precision Training), section 3.2.

    A dynamic scale doubles after `growth_steps` finite steps in a row, up to `ceiling`, and is halved by each
    step that is not finite, down to `floor`; such a step changes nothing else.

    Attributes:
        scale: "dynamic", a number that stays (a power of two keeps gradients exact), or None for no scaling.
        initial: the first scale of "dynamic".
        max_skipped_steps: steps in a row that are not finite, after which training fails; None is never.

    Raises:
        ConfigError: a value that is out of range.
    """

    scale: str | float | None
    initial: float = 2.0**15
    growth_steps: int = 2000
    floor: float = 1.0
    ceiling: float = 2.0**24
    max_skipped_steps: int | None = 50

    def __post_init__(self) -> None:
        scale = self.scale
        if not (scale in (None, "dynamic") or (isinstance(scale, (int, float)) and scale > 0)):
            raise ConfigError(
                f"`loss_scale` must be 'auto', 'dynamic', None or a positive number, got {scale!r}. "
                "Use 'dynamic' with mixed_float16 and None otherwise."
            )
        if not 0 < self.floor <= self.initial <= self.ceiling:
            raise ConfigError(
                "`min_scale`, `initial_scale` and `max_scale` must be positive and rise, got "
                f"{self.floor}, {self.initial} and {self.ceiling}."
            )
        if not isinstance(self.growth_steps, int) or self.growth_steps < 1:
            raise ConfigError(
                f"`dynamic_growth_steps` must be a whole number of at least 1, got {self.growth_steps!r}."
            )
        limit = self.max_skipped_steps
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise ConfigError(
                f"`max_skipped_steps` must be a whole number of at least 1, or None, got {limit!r}."
            )

    @classmethod
    def auto(cls, scale: str | float | None, **settings: Any) -> LossScale:
        """With "auto": "dynamic" where the global dtype policy is mixed_float16, else None."""
        if scale == "auto":
            scale = "dynamic" if keras.config.dtype_policy().name == "mixed_float16" else None
        return cls(scale, **settings)

    @property
    def scales(self) -> bool:
        """Whether the loss is multiplied at all, and so whether steps are skipped."""
        return self.scale is not None

    @property
    def dynamic(self) -> bool:
        return self.scale == "dynamic"

    @property
    def first(self) -> float:
        """The scale of the first step."""
        return self.initial if self.dynamic or self.scale is None else float(self.scale)

    def after(self, scale: float, finite_steps: int, finite: bool) -> tuple[float, int]:
        """The scale and the number of finite steps in a row after one more step: the rule, without a graph."""
        if not self.dynamic:
            return scale, 0
        if not finite:
            return max(scale * 0.5, self.floor), 0
        if finite_steps + 1 < self.growth_steps:
            return scale, finite_steps + 1
        return min(scale * 2.0, self.ceiling), 0

    def check_skipped(self, in_a_row: int, scale: float) -> None:
        """Fail where too many steps in a row were skipped.

        Raises:
            TrainingError: says what to try.
        """
        if self.max_skipped_steps is None or in_a_row < self.max_skipped_steps:
            return
        raise TrainingError(
            f"{in_a_row} steps in a row had gradients that are not finite, and were skipped; the loss scale is now "
            f"{scale:g}. Try mixed_bfloat16, which needs no loss scale; a "
            'lower learning rate or a longer warm-up; global_clipnorm; dtype="float32" for the layer that overflows '
            "(tfdml.precision.delicate_layers lists candidates); and look for NaN in the data. "
            f"max_skipped_steps={self.max_skipped_steps} is the limit."
        )
