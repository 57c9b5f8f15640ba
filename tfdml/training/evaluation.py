"""Evaluation of a model over a data set, compiled once for all epochs that ask for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from tfdml.errors import DataError
from tfdml.training import prepare
from tfdml.training.callbacks import Callbacks
from tfdml.training.loop import ExecutionLoop, loop_for
from tfdml.training.metrics import Logs
from tfdml.training.stream import Data, Stream, make_stream

# Compiled evaluation loops that are kept, by data set.
_KEPT = 4

Votes: TypeAlias = Sequence[bool]


class Evaluation:
    """Evaluates `model` on all replicas of `strategy`."""

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy):
        self._model = model
        self._strategy = strategy
        self._kept: dict[tuple[int, bool], tuple[Any, Stream, ExecutionLoop]] = {}

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
        stream, loop = self._loop(data)
        model = self._model
        model.reset_metrics()
        model.stop_evaluating = False
        hooks.on_test_begin()
        at_once = model.steps_per_execution
        limit = stream.num_batches if steps is None else min(steps, stream.num_batches or steps)
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
        if step == 0:
            raise DataError(
                "the evaluation data yielded no batch. Check its source, and any filter or take."
            )
        hooks.on_test_end(logs)
        return logs

    def _loop(self, data: Data) -> tuple[Stream, ExecutionLoop]:
        """The stream and the compiled loop for `data`, kept so that every epoch's validation reuses them."""
        key = (id(data), self._model.run_eagerly)
        if key not in self._kept:
            while len(self._kept) >= _KEPT:
                self._kept.pop(next(iter(self._kept)))
            stream = make_stream(data, self._strategy)
            prepare.build(self._model, self._strategy, stream.element_spec)
            loop = loop_for(
                self._model,
                self._strategy,
                "test_step",
                stream,
                counts_steps=stream.num_batches is not None,
            )
            self._kept[key] = (data, stream, loop)
        _, stream, loop = self._kept[key]
        return stream, loop
