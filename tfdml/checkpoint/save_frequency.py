"""How often a job is saved: every so many steps, epochs or seconds."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tfdml.checkpoint.position import Position
from tfdml.errors import ConfigError

_WORDS = re.compile(r"(\d+(?:\.\d+)?)\s*(epoch|step|second|minute|hour)s?")
_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}


@dataclass(frozen=True)
class SaveFrequency:
    """Every `every` of `unit`: "epoch", "step" or "second"."""

    unit: str
    every: float

    @classmethod
    def parse(cls, given: str | int) -> SaveFrequency:
        """From "epoch", a number of steps, or words such as "5 epochs", "500 steps", "90 seconds", "10 minutes".

        Raises:
            ConfigError: it is none of these.
        """
        if given == "epoch":
            return cls("epoch", 1)
        unit, every = "step", 0.0
        if isinstance(given, int) and not isinstance(given, bool):
            every = given
        elif isinstance(given, str) and (found := _WORDS.fullmatch(given.strip().lower())):
            unit, every = found[2], float(found[1])
            if unit in _SECONDS:
                unit, every = "second", every * _SECONDS[unit]
        if every <= 0 or (unit != "second" and every != int(every)):
            raise ConfigError(
                f"`save_freq` must be 'epoch', a number of steps of at least 1, or words, got {given!r}. "
                "For example 500, '500 steps', '2 epochs' or '10 minutes'."
            )
        return cls(unit, every)

    def is_due(self, now: Position, last: Position) -> bool:
        """Whether a save is due at `now` when the last was at `last`; never of seconds, which a clock tells."""
        if self.unit == "step":
            return now.global_step // self.every > last.global_step // self.every
        if self.unit == "epoch":
            return now.step_in_epoch == 0 and now.epoch // self.every > last.epoch // self.every
        return False
