"""What a fault is, and the lines that ask for one. Pure: nothing happens here.

kill:worker=1,step=17                        SIGKILL to worker 1 when 17 steps have been trained
kill:chief,rename=manifest.json,nth=3        SIGKILL to the chief as it renames such a file for the third time
slow:worker=0,step=5,times=10,sleep_seconds=0.2; nan:worker=1,step=8
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tfdml.cluster.spec import ClusterSpec
from tfdml.errors import ConfigError

VARIABLE = "TFDML_FAULTS"
# Which start of the job this is, 0 or missing in the first; `tfdml launch` sets it.
START_VARIABLE = "TFDML_RESTART"
ENDLESS = 2**62

_FILES = ("read", "write", "rename")
# Every kind, with what can set it off.
KINDS: dict[str, tuple[str, ...]] = {
    "kill": ("step", "after_seconds", *_FILES),
    "stop": ("step", "after_seconds", *_FILES),
    "preempt": ("step", "after_seconds", *_FILES),
    "deadlock": ("step", *_FILES),
    "slow": ("step", *_FILES),
    "nan": ("step",),
    "full_disk": ("write", "rename"),
}
_LASTING = ("slow", "nan", "full_disk")
_EXAMPLE = "kill:worker=1,step=17"


@dataclass(frozen=True)
class Fault:
    """One fault of one task.

    Attributes:
        text: the line that asked for it.
        kind: one of `KINDS`.
        task_type, task_index: whose it is; "chief" is whichever task is the chief.
        trigger: "step", "after_seconds", "read", "write" or "rename".
        at: steps trained before it; or seconds; or a text that the path of the file has in it.
        nth: which such opening or renaming it is, from 1.
        times: how many steps, openings or renamings it lasts.
        sleep_seconds: how long each of them takes longer, for "slow".
        start: the start of the job in which it happens, 0 the first; None is every start.
        once: a file that is made when it happens, and without which only it does; "" for none.
    """

    text: str
    kind: str
    task_type: str
    task_index: int
    trigger: str
    at: int | float | str
    nth: int = 1
    times: int = 1
    sleep_seconds: float = 0.0
    start: int | None = 0
    once: str = ""

    @property
    def is_about_files(self) -> bool:
        return self.trigger in _FILES

    def check_task(self, cluster: ClusterSpec) -> None:
        """Raise ConfigError where the job has no such task."""
        names = {"chief", *(task.task_name for task in cluster.tasks())}
        if cluster.is_local:
            names.add(cluster.task_name)
        if self.task_type != "chief" and f"{self.task_type} {self.task_index}" not in names:
            known = ", ".join(sorted(name.replace(" ", "=") for name in names))
            raise ConfigError(
                f"the fault '{self.text}' is one of {self.task_type} {self.task_index}, which the job does not have. "
                f"Name one of: {known}."
            )

    def concerns(self, cluster: ClusterSpec) -> bool:
        """Whether it is the fault of the task whose cluster this is."""
        if self.task_type == "chief":
            return cluster.is_chief
        return (cluster.task_type, cluster.task_index) == (self.task_type, self.task_index)


def parse(text: str) -> list[Fault]:
    """The faults of a line, separated by semicolons. Raises `ConfigError`."""
    return [_fault(part.strip()) for part in text.split(";") if part.strip()]


def _fault(text: str) -> Fault:
    kind, _, rest = text.partition(":")
    if kind not in KINDS:
        raise ConfigError(
            f"unknown fault '{kind}' in '{text}'{_nearest(kind, KINDS)}. The faults are {', '.join(KINDS)}, "
            f"written as in {_EXAMPLE}."
        )
    values = _values(text, rest)
    chief, worker = values.pop("chief", None), values.pop("worker", None)
    if (chief is None) == (worker is None) or chief:
        raise ConfigError(
            f"the fault '{text}' must name one task. Write worker=INDEX or chief, as in {_EXAMPLE}."
        )
    triggers = [name for name in KINDS["kill"] if name in values]
    if len(triggers) != 1 or triggers[0] not in KINDS[kind]:
        raise ConfigError(
            f"the fault '{text}' must say when it happens, once, got {' and '.join(triggers) or 'nothing'}. "
            f"For '{kind}' give one of {', '.join(KINDS[kind])}."
        )
    (trigger,) = triggers
    _check_fitting(text, kind, trigger, values)
    values.setdefault("times", 1 if kind not in ("slow", "full_disk") else ENDLESS)
    task_type, task_index = ("chief", 0) if worker is None else ("worker", worker)
    return Fault(text, kind, task_type, task_index, trigger, values.pop(trigger), **values)


def _check_fitting(text: str, kind: str, trigger: str, values: dict[str, Any]) -> None:
    if ("sleep_seconds" in values) != (kind == "slow"):
        raise ConfigError(
            f"`sleep_seconds` belongs to 'slow' and to no other fault, got '{text}'. "
            "Write slow:worker=1,step=5,sleep_seconds=0.2."
        )
    if "nth" in values and trigger not in _FILES:
        raise ConfigError(
            f"`nth` counts the files of read, write and rename, got '{text}'. Leave it out with {trigger}."
        )
    if "times" in values and kind not in _LASTING:
        raise ConfigError(
            f"`times` belongs to {', '.join(_LASTING)}, which can last, got '{text}'. Leave it out."
        )


def _values(text: str, rest: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        name, equals, value = part.partition("=")
        if name not in _READERS:
            raise ConfigError(
                f"unknown setting '{name}' in the fault '{text}'{_nearest(name, _READERS)}. "
                f"The settings are {', '.join(_READERS)}."
            )
        if name in values:
            raise ConfigError(f"the fault '{text}' gives `{name}` twice. Keep one.")
        read, allowed = _READERS[name]
        try:
            values[name] = read(value if equals or name != "chief" else "0")
        except ValueError:
            raise ConfigError(
                f"`{name}` of a fault must be {allowed}, got '{value}' in '{text}'."
            ) from None
    return values


def _whole(lowest: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not (value.isascii() and value.isdigit() and int(value) >= lowest):
            raise ValueError
        return int(value)

    return read


def _seconds(value: str) -> float:
    seconds = float(value)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError
    return seconds


def _words(value: str) -> str:
    if not value:
        raise ValueError
    return value


def _start(value: str) -> int | None:
    return None if value == "every" else _whole(0)(value)


_TEXT = (_words, "a part of the path of a file, without commas and semicolons")
_READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "worker": (_whole(0), "the index of a worker, from 0"),
    "chief": (_whole(0), "left alone: there is one chief"),
    "step": (_whole(0), "a whole number of trained steps, from 0"),
    "after_seconds": (_seconds, "a number of seconds, such as 2.5"),
    **{name: _TEXT for name in _FILES},
    "nth": (_whole(1), "a whole number from 1"),
    "times": (_whole(1), "a whole number from 1"),
    "sleep_seconds": (_seconds, "a number of seconds, such as 0.2"),
    "start": (_start, "the number of a start of the job, from 0, or 'every'"),
    "once": (_words, "the path of a file that is not there yet"),
}


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""
