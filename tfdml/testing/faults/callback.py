"""The callback that brings faults into a training."""

from __future__ import annotations

import atexit
import os
from typing import Any

import keras

from tfdml import cluster
from tfdml.errors import ConfigError
from tfdml.testing.faults import watched
from tfdml.testing.faults.fault import START_VARIABLE, parse
from tfdml.testing.faults.gradients import NanGradient
from tfdml.testing.faults.pending import Pending, announce


class Faults(keras.callbacks.Callback):
    """Lets the faults in `text` happen in the tasks that they name; put it into the callbacks of every task.

    A fault of a step happens before that step, or before the execution that it is in where `steps_per_execution`
    is more than 1 (a NaN in the very step). Others wait from the moment when `fit` has made its callbacks.

    Args:
        text: faults separated by semicolons, such as "kill:worker=1,step=17"; docs/faults.md has all of them.

    Raises:
        ConfigError: it says something that no fault is, or names a task that the job does not have.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        faults = parse(text)
        if not faults:
            raise ConfigError(
                f"`text` must have a fault in it, got '{text}'. Leave the callback out for none."
            )
        own = cluster.resolve()
        start = _this_start()
        if start == 0:  # later ones may go on with fewer workers
            for fault in faults:
                fault.check_task(own)
        mine = [fault for fault in faults if fault.concerns(own)]
        self._pending = [Pending(f) for f in mine if f.start is None or f.start == start]
        self._of_steps = [p for p in self._pending if p.fault.trigger == "step"]
        self._waits = False
        self._nans: list[NanGradient] = []
        self._has_counted = False
        self._done = self._batch = 0

    @property
    def concerns_this_task(self) -> bool:
        """Whether a fault can happen here, in this start of the job."""
        return bool(self._pending)

    def wait(self) -> None:
        """From now on wait for files and times; `fit` does it by itself."""
        if self._waits:
            return
        self._waits = True
        others = [p for p in self._pending if p.fault.trigger != "step"]
        for pending in others:
            watched.wait_for(pending)
        if others:
            atexit.register(_tell_missed, others)

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self.wait()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        nans = [p for p in self._of_steps if p.fault.kind == "nan"]
        self._nans = [NanGradient(pending, self.model) for pending in nans]
        self._has_counted = False

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not self._has_counted:  # not earlier: what is restored may be so after `on_train_begin`
            self._has_counted, self._done = True, self._trained_before()
            for nan in self._nans:
                nan.next_step = self._done
        self._batch = batch
        steps = self.params.get("steps")
        most = self.model.steps_per_execution
        end = self._done + (most if steps is None else min(most, steps - batch))
        for pending in self._of_steps:
            if pending.fault.kind != "nan":
                pending.happen(self._done, end)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._done += batch - self._batch + 1

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        for nan in self._nans:
            nan.remove()
        _tell_missed(self._of_steps)

    def _trained_before(self) -> int:
        """Steps that the job has trained before this `fit`, which the Trainer knows exactly."""
        if "global_step" in self.params:
            return int(self.params["global_step"])
        optimizer = self.model.optimizer
        counts = [optimizer.iterations, getattr(optimizer, "skipped_steps", None)]
        return sum(int(count.numpy()) for count in counts if count is not None)


def _tell_missed(pending: list[Pending]) -> None:
    """A rehearsal without its fault has shown nothing, so it must not look like one that went well."""
    for missed in pending:
        if not missed.has_begun:
            announce(f"training has ended, and the fault '{missed.fault.text}' has not happened")


def _this_start() -> int:
    value = os.environ.get(START_VARIABLE, "").strip()
    return int(value) if value.isascii() and value.isdigit() else 0
