"""Learning-rate schedules that Keras lacks; `learning_rate.py` takes Keras's own where they are right.

A schedule is called with the number of updates made so far: 0 in the first one. A `.keras` file that holds one of
these needs `import tfdml.optimizers` before it is loaded with its optimizer; with `compile=False` it does not.
Keras's own (constant, warm-up to a constant, cosine with warm-up, step and polynomial without) load anywhere.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import keras
from keras import ops

from tfdml.errors import ConfigError

Schedule: TypeAlias = keras.optimizers.schedules.LearningRateSchedule


def _number(value: Any) -> Any:
    return ops.cast(value, "float32")


@keras.saving.register_keras_serializable(package="tfdml")
class WarmUp(Schedule):
    """Rises in a straight line, then follows another schedule from its beginning.

    Update t of the first `steps` has start + (schedule(0) - start) t / steps: gradual warm-up, Goyal et al. 2017
    (Accurate, Large Minibatch SGD), section 2.2.

    Args:
        schedule: what comes after; its update 0 is the first after the warm-up.
        start: learning rate of the very first update.
        steps: updates before `schedule` begins.

    Raises:
        ConfigError: `steps` is not at least 1.
    """

    def __init__(self, schedule: Schedule, *, start: float, steps: int):
        super().__init__()
        if steps < 1:
            raise ConfigError(f"`steps` must be at least 1, got {steps}. Without, use `schedule`.")
        self.schedule, self.start, self.steps = schedule, start, steps

    def __call__(self, step: Any) -> Any:
        step = _number(step)
        peak = ops.cast(self.schedule(0), "float32")
        rising = self.start + (peak - self.start) * step / self.steps
        after = self.schedule(ops.maximum(step - self.steps, 0.0))
        return ops.where(step < self.steps, rising, ops.cast(after, "float32"))

    def get_config(self) -> dict[str, Any]:
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "start": self.start, "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WarmUp:
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, start=config["start"], steps=config["steps"])


@keras.saving.register_keras_serializable(package="tfdml")
class InverseSquareRoot(Schedule):
    """peak sqrt(timescale / (timescale + t)) at update t.

    With `timescale` updates of warm-up before it, this is the schedule of Vaswani et al. 2017 (Attention Is All You
    Need), section 5.3, equation 3.

    Args:
        peak: learning rate at t = 0.
        timescale: updates after which it is peak / sqrt(2).

    Raises:
        ConfigError: `timescale` is not at least 1.
    """

    def __init__(self, peak: float, *, timescale: int):
        super().__init__()
        if timescale < 1:
            raise ConfigError(f"`timescale` must be at least 1, got {timescale}.")
        self.peak, self.timescale = peak, timescale

    def __call__(self, step: Any) -> Any:
        return self.peak * ops.sqrt(self.timescale / (self.timescale + _number(step)))

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "timescale": self.timescale}


@keras.saving.register_keras_serializable(package="tfdml")
class StableDecay(Schedule):
    """Stays at its peak and falls in a straight line at the end.

    The last two parts of warm-up-stable-decay, Hu et al. 2024 (MiniCPM), section 4.2, with the linear decay of
    Hägele et al. 2024 (Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations), section 3.

    Args:
        peak: learning rate of the first updates.
        stable_steps: how many have it.
        decay_steps: updates in which it falls to `end`, where it stays.
        end: the last learning rate.

    Raises:
        ConfigError: a number of steps that is out of range.
    """

    def __init__(self, peak: float, *, stable_steps: int, decay_steps: int, end: float = 0.0):
        super().__init__()
        if stable_steps < 0 or decay_steps < 1:
            raise ConfigError(
                f"`stable_steps` must be at least 0 and `decay_steps` at least 1, got {stable_steps} and "
                f"{decay_steps}."
            )
        self.peak, self.end = peak, end
        self.stable_steps, self.decay_steps = stable_steps, decay_steps

    def __call__(self, step: Any) -> Any:
        done = ops.clip((_number(step) - self.stable_steps) / self.decay_steps, 0.0, 1.0)
        return self.peak + (self.end - self.peak) * done

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "stable_steps": self.stable_steps,
            "decay_steps": self.decay_steps,
            "end": self.end,
        }
