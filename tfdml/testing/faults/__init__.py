"""Failures on purpose, to see what a job makes of them; docs/faults.md says how to rehearse with them.

fault      what a line such as "kill:worker=1,step=17" says (pure)
pending    a fault that this process waits for: when it is due, what then happens
watched    faults that happen when a file is opened or renamed, or after some time
gradients  the NaN in a gradient
callback   the callback that brings faults into a training
outside    processes killed at random moments, from outside
files      files cut, changed and gone
disk       a small disk, and one without room
network    hosts in network namespaces, whose links can be cut
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tfdml.testing.faults.disk import full_disk, small_disk
from tfdml.testing.faults.fault import VARIABLE, Fault, parse
from tfdml.testing.faults.files import each_damage, flip_bit, truncate
from tfdml.testing.faults.network import Host, hosts
from tfdml.testing.faults.outside import Killed, kill_at_random_moments

if TYPE_CHECKING:
    from tfdml.testing.faults.callback import Faults

__all__ = [
    "Fault",
    "Faults",
    "Host",
    "Killed",
    "each_damage",
    "flip_bit",
    "from_environment",
    "full_disk",
    "hosts",
    "kill_at_random_moments",
    "parse",
    "small_disk",
    "truncate",
    "with_environment",
]


def from_environment() -> list[Faults]:
    """The callbacks for the faults that TFDML_FAULTS asks for in this task; empty where it asks for none.

    They wait from now on: call this where training begins, before anything is restored. Later calls give the same
    callback, so that a fault happens once in a process.

    Raises:
        ConfigError: TFDML_FAULTS says something that no fault is, in every task of the job.
    """
    text = os.environ.get(VARIABLE, "").strip()
    return _waiting(text) if text else []


def with_environment(callbacks: Sequence[Any] | None) -> list[Any]:
    """`callbacks`, and those of `from_environment` that are not among them: what a Trainer trains with."""
    given = list(callbacks or [])
    return [*given, *(faults for faults in from_environment() if faults not in given)]


@functools.cache
def _waiting(text: str) -> list[Faults]:
    from tfdml.testing.faults.callback import Faults

    faults = Faults(text)
    faults.wait()
    return [faults] if faults.concerns_this_task else []


def __getattr__(name: str) -> Any:
    if name == "Faults":  # imports Keras
        from tfdml.testing.faults.callback import Faults

        return Faults
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
