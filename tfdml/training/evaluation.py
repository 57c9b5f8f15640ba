"""Evaluation of a model over a data set, compiled once for all epochs that ask for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras

from tfdml.errors import DataError
from tfdml.training.callbacks import Callbacks
from tfdml.training.metrics import Logs
from tfdml.training.runner import Batches, Loop, Runner
from tfdml.training.stream import Data

# Compiled evaluation loops that are kept, by data set.
_KEPT = 4

Votes: TypeAlias = Sequence[bool]


class Evaluation:
    """Evaluates `model` as `runner` runs it."""

    def __init__(self, model: keras.Model, runner: Runner):
        self._model = model
        self._runner = runner
        self._kept: dict[tuple[int, bool, bool], tuple[Any, Batches, Loop]] = {}

    def run(
        self,
        data: Data,
        steps: int | None,
        hooks: Callbacks,
        votes: Callable[[], Votes] = tuple,
        between: Callable[[Votes], None] = lambda votes: None,
    ) -> Logs:
        """Loss and metrics over `data`.

        Args:
            steps: at most so many; None for all.
            votes: those of this task, asked before each execution.
            between: hears those of all tasks after each.

        Raises:
            DataError: there is no batch.
        """
        batches, loop = self._loop(data, steps)
        model = self._model
        model.reset_metrics()
        model.stop_evaluating = False
        hooks.on_test_begin()
        at_once = model.steps_per_execution
        limit = batches.num_batches if steps is None else min(steps, batches.num_batches or steps)
        loop.new_pass()
        step, logs = 0, {}
        while limit is None or step < limit:
            hooks.on_test_batch_begin(step)
            wanted = at_once if limit is None else min(at_once, limit - step)
            execution = loop(wanted, votes())
            between(execution.votes)
            if execution.steps == 0:
                break
            step, logs = step + execution.steps, execution.logs
            hooks.on_test_batch_end(step - 1, logs)
            if execution.steps < wanted:
                break
        logs = loop.settle() or logs
        if step == 0:
            raise DataError(
                "the evaluation data yielded no batch. Check its source, and any filter or take."
            )
        hooks.on_test_end(logs)
        return logs

    def _loop(self, data: Data, steps: int | None) -> tuple[Batches, Loop]:
        """Data and compiled loop, kept so that every epoch's validation reuses them."""
        key = (id(data), self._model.run_eagerly, steps is None)
        if key not in self._kept:
            while len(self._kept) >= _KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = (data, *self._runner.evaluation(data, steps))
        _, batches, loop = self._kept[key]
        return batches, loop
