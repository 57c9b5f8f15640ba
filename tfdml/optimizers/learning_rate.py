"""The learning rate of a training: scaled to its batch size, warmed up, and falling as the configuration says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras

from tfdml.errors import ConfigError
from tfdml.optimizers.schedules import InverseSquareRoot, Schedule, StableDecay, WarmUp

if TYPE_CHECKING:
    from tfdml.config.schema import OptimizerConfig, ScheduleConfig

_ENDLESS = ("constant", "inverse_square_root")


@dataclass(frozen=True)
class LearningRatePlan:
    """The learning rate of every update. `str()` tells it in a few lines, for the beginning of a training.

    Attributes:
        base: as configured, meant for `base_batch_size` examples per update.
        factor: what it is multiplied with for `examples_per_update`.
        scaling: by which rule: none, linear (Goyal et al. 2017, section 2.1) or square_root (You et al. 2020,
            section 4.1; Krizhevsky 2014, section 3.2).
        start: of the first update; the peak where there is no warm-up.
        warmup_steps: updates in which it rises.
        num_updates: of the whole training; None where nobody knows.
        settings: of the schedule.
    """

    base: float
    factor: float
    scaling: str
    base_batch_size: int | None
    examples_per_update: int
    start: float
    warmup_steps: int
    num_updates: int | None
    settings: ScheduleConfig

    @property
    def peak(self) -> float:
        """The highest learning rate."""
        return self.base * self.factor

    @property
    def end(self) -> float:
        """That of the last update, or of the one after it where the schedule ends there."""
        return self(self.num_updates or 0)

    def __call__(self, update: int) -> float:
        """The learning rate of update number `update`, from 0."""
        schedule = self.build()
        return schedule if isinstance(schedule, float) else float(schedule(update))

    def build(self) -> Schedule | float:
        """What a Keras optimizer takes as its `learning_rate`: Keras's own schedules where they can say it."""
        schedules = keras.optimizers.schedules
        peak, start, warmup = self.peak, self.start, self.warmup_steps
        if self.settings.name == "constant":
            if not warmup:
                return peak
            # A polynomial of power 1 that goes up, and stays where it ends.
            return schedules.PolynomialDecay(start, warmup, end_learning_rate=peak)
        if self.settings.name == "cosine":
            alpha = self.settings.end
            if not warmup:
                return schedules.CosineDecay(peak, self._falling_steps, alpha=alpha)
            return schedules.CosineDecay(
                start, self._falling_steps, alpha=alpha, warmup_target=peak, warmup_steps=warmup
            )
        falling = self._after_warmup()
        return WarmUp(falling, start=start, steps=warmup) if warmup else falling

    @property
    def _falling_steps(self) -> int:
        assert self.num_updates is not None
        return self.num_updates - self.warmup_steps

    def _after_warmup(self) -> Schedule:
        schedules, settings, peak = keras.optimizers.schedules, self.settings, self.peak
        if settings.name == "inverse_square_root":
            return InverseSquareRoot(peak, timescale=self.warmup_steps)
        if settings.name == "polynomial":
            return schedules.PolynomialDecay(
                peak,
                self._falling_steps,
                end_learning_rate=peak * settings.end,
                power=settings.power,
            )
        assert self.num_updates is not None
        if settings.name == "warmup_stable_decay":
            decay = max(1, round(settings.decay_fraction * self.num_updates))
            return StableDecay(
                peak,
                stable_steps=max(0, self._falling_steps - decay),
                decay_steps=min(decay, self._falling_steps),
                end=peak * settings.end,
            )
        # Keras counts the boundary itself to what comes before it: the update after it is the first lower one.
        falls = [
            round(part * self.num_updates) - self.warmup_steps - 1 for part in settings.milestones
        ]
        values = [peak * settings.milestone_factor**i for i in range(len(falls) + 1)]
        return schedules.PiecewiseConstantDecay(falls, values)

    def __str__(self) -> str:
        peak = f"{self.peak:.3g}"
        if self.scaling != "none":
            peak += (
                f" ({self.base:.3g} x {self.factor:.3g}: {self.scaling} from {self.base_batch_size} to "
                f"{self.examples_per_update} examples an update)"
            )
        lines = [f"learning rate: peak {peak}"]
        if self.warmup_steps:
            lines.append(f"  warm-up from {self.start:.3g} in {self.warmup_steps} updates")
        if self.settings.name == "constant":
            lines.append("  then constant")
        else:
            how = f"  then {self.settings.name}"
            if self.num_updates:
                how += f", to {self.end:.3g} at update {self.num_updates}"
            lines.append(how)
        return "\n".join(lines)


def learning_rate_plan(
    config: OptimizerConfig, *, global_batch_size: int, total_steps: int | None = None
) -> LearningRatePlan:
    """The learning rates that `config` means for a training of this size.

    Args:
        config: learning rate, its scaling and its schedule.
        global_batch_size: examples per step, over all replicas; on parameter servers those of one worker's step.
            Times the `gradient_accumulation_steps` of `config` they are the examples of one update.
        total_steps: of the whole training, all epochs; schedules that end need it.

    Raises:
        ConfigError: the schedule needs `total_steps`, or does not fit into it.
    """
    accumulated = config.gradient_accumulation_steps
    examples = global_batch_size * accumulated
    updates = None if total_steps is None else max(1, total_steps // accumulated)
    settings = config.schedule
    if updates is None and (settings.name not in _ENDLESS or settings.warmup_fraction):
        what = "warmup_fraction" if settings.name in _ENDLESS else settings.name
        raise ConfigError(
            f"schedule {what} is a part of all updates, and their number is not known. Use data that knows its size "
            "(a Source, or steps_per_epoch), or the schedule constant or inverse_square_root with warmup_steps."
        )
    warmup = settings.warmup_steps
    if settings.warmup_fraction:
        assert updates is not None
        warmup = max(1, round(settings.warmup_fraction * updates))
    if updates is not None and settings.name not in _ENDLESS and warmup >= updates:
        raise ConfigError(
            f"a warm-up of {warmup} updates leaves nothing of the {updates} of this training for {settings.name}. "
            "Set a shorter warmup_steps or warmup_fraction, or train longer."
        )
    first_fall = settings.milestones[0]
    if settings.name == "step" and updates and round(first_fall * updates) <= warmup:
        raise ConfigError(
            f"a warm-up of {warmup} updates goes past the first milestone, {first_fall} of {updates} updates. "
            "Set a shorter warmup_steps or warmup_fraction, or later milestones."
        )
    factor = _scale(config.learning_rate_scaling, config.base_batch_size, examples)
    peak = config.learning_rate * factor
    if not warmup:
        start = peak
    elif settings.warmup_start is not None:
        start = settings.warmup_start * peak
    else:
        # Goyal et al. begin where the small batch would; without scaling there is no such place.
        start = 0.0 if config.learning_rate_scaling == "none" else min(config.learning_rate, peak)
    return LearningRatePlan(
        base=config.learning_rate,
        factor=factor,
        scaling=config.learning_rate_scaling,
        base_batch_size=config.base_batch_size,
        examples_per_update=examples,
        start=start,
        warmup_steps=warmup,
        num_updates=updates,
        settings=settings,
    )


def _scale(rule: str, base_batch_size: int | None, examples: int) -> float:
    if rule == "none":
        return 1.0
    assert base_batch_size is not None
    ratio = examples / base_batch_size
    return ratio if rule == "linear" else math.sqrt(ratio)
