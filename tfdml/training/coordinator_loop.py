"""Executions of a parameter-server job: the coordinator schedules steps, workers make them at their own speed.

It has the form of `ExecutionLoop`, so that `Fit` and `Evaluation` need not know. But steps are scheduled and not yet
made when a call returns: up to `max_pending_steps` of them wait or run, logs are those of the steps that are known to
be made, and `settle` waits for the rest. Quick steps are gathered, also over several calls, until there are enough
for one closure (`closure_size.py`).

A step gives back what it adds to the metrics, and the coordinator adds it up, once for each step. Keras's own way, in
which workers change the metrics' variables on the ps, loses some and counts a step that was tried again twice.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdml import heartbeat
from tfdml.checkpoint import Position
from tfdml.data.read_errors import data_errors
from tfdml.training import metrics
from tfdml.training.async_step import AsyncStep
from tfdml.training.closure_size import ClosureSize
from tfdml.training.feed import Feed
from tfdml.training.loop import NUM_VOTES, Execution
from tfdml.training.metrics import Logs
from tfdml.training.remote_result import fetch
from tfdml.training.staleness import Staleness

_log = logging.getLogger("tfdml")

# Computing the metrics takes as long as a quick step, and nobody looks at them more often.
_SECONDS_BETWEEN_LOGS = 0.1


class CoordinatorLoop:
    """Runs `step_name` of `model` on the workers, over the batches of a feed.

    Args:
        coordinator: the `ClusterCoordinator` of the strategy.
        step_name: "train_step" or "test_step".
        start: where the feed begins the first time.
        num_workers: of the job.
        max_pending_steps: so many steps may be scheduled and not known to be made; None is two closures or executions
            for each worker.
        pull_dtype: how weights travel to the workers; None as they are.
    """

    begins_anywhere = False

    def __init__(
        self,
        model: keras.Model,
        coordinator: Any,
        step_name: str,
        feed: Feed,
        *,
        start: Position,
        num_workers: int,
        max_pending_steps: int | None,
        pull_dtype: str | None = None,
    ):
        self._model = model
        self._coordinator = coordinator
        self._feed = feed
        self._position = start
        self._num_workers = num_workers
        self._max_pending_steps = max_pending_steps
        self._step = AsyncStep(model, coordinator.strategy, step_name, feed, pull_dtype)
        self._trains = step_name == "train_step"
        # Steps from the position on that were told of and are not scheduled yet.
        self._gathered = 0
        self._closure_size = ClosureSize(num_workers, max_pending_steps)
        self._pending: deque[tuple[Any, int]] = deque()
        self._totals = np.zeros(self._step.num_totals)
        self._examples = 0
        self.staleness = Staleness()
        self._updates_before = 0
        self._repeated = 0
        self._has_begun = False

    def new_pass(self) -> None:
        """Begin to read the data from its start, and metrics from what their variables hold."""
        if self._has_begun:
            self._feed.new_pass()
            epoch = self._position.epoch + (1 if self._trains else 0)
            self._position = Position(epoch, 0, self._position.global_step)
        elif self._trains:
            self._updates_before = int(self._model.optimizer.iterations.numpy())
        self._has_begun = True
        self._totals = self._step.read_totals()
        self._last_logs, self._logs_are_of = self._logs(), time.monotonic()
        self._closure_size.rest()

    def __call__(self, max_steps: int, votes: Sequence[bool] = ()) -> Execution:
        """Schedule up to `max_steps` steps; see `Execution`, of which `steps` are those that were scheduled."""
        scheduled = 0
        while scheduled < max_steps:
            steps = min(max_steps - scheduled, self._feed.most_steps)
            self._gathered += steps
            enough = min(self._closure_size.steps, self._feed.most_steps)
            if self._gathered >= enough and not self._schedule():
                break
            scheduled += steps
        now = time.monotonic()
        if now - self._logs_are_of > _SECONDS_BETWEEN_LOGS:
            self._last_logs, self._logs_are_of = self._logs(), now
        examples, self._examples = self._examples, 0
        return Execution(scheduled, examples, self._last_logs, tuple(votes) or (False,) * NUM_VOTES)

    def _schedule(self) -> bool:
        """The gathered steps, as one closure; False where the pass over the data has ended."""
        steps, start, self._gathered = self._gathered, self._position, 0
        arguments = self._feed.arguments(start, steps)
        if arguments is None:
            return False
        numbers = tf.constant([steps, *astuple(start)], tf.int64)
        remote = self._coordinator.schedule(self._step.closure, args=(numbers, *arguments))
        self._pending.append((remote, steps))
        self._position = Position(
            start.epoch, start.step_in_epoch + steps, start.global_step + steps
        )
        while sum(steps for _, steps in self._pending) > self._most_pending:
            self._take_one()
        return True

    @property
    def _most_pending(self) -> int:
        if self._max_pending_steps is not None:
            return self._max_pending_steps
        at_once = max(self._model.steps_per_execution, self._closure_size.steps)
        return 2 * self._num_workers * at_once

    def settle(self) -> Logs:
        """Wait until all that was scheduled is made; the logs of it, which the metrics' variables hold, too."""
        if self._gathered:
            self._schedule()
        while self._pending:
            self._take_one()
        self._step.write_totals(self._totals)
        self._tell_repeated()
        return self._logs()

    def report(self) -> Logs:
        """Mean and largest staleness of the updates so far; `staleness` has all of it."""
        if not self._trains:
            return {}
        late = self.staleness
        return {"staleness_mean": late.mean, "staleness_max": float(late.largest)}

    def counts(self) -> dict[str, np.ndarray]:
        """How many updates were 0, 1, 2, ... late."""
        return {"staleness": self.staleness.histogram} if self._trains else {}

    def _tell_repeated(self) -> None:
        """TensorFlow tries a step again that a lost worker may have made: count the updates that nobody told of."""
        if not self._trains:
            return
        made = int(self._model.optimizer.iterations.numpy()) - self._updates_before
        repeated = made - self.staleness.total
        if repeated != self._repeated:
            _log.warning(
                "%d update(s) more were made than steps: a worker was lost between an update and its answer, and "
                "the step was made again",
                repeated,
            )
        self._repeated = repeated

    def data_state(self) -> bytes | None:
        return None

    def load_data_state(self, state: bytes) -> None:
        raise AssertionError("there is none")

    def _take_one(self) -> None:
        """Wait for the step that was scheduled first."""
        remote, steps = self._pending.popleft()
        with data_errors(), heartbeat.waiting():
            told = fetch(self._coordinator, remote)
        self._closure_size.made(steps)
        end = self._step.num_totals
        staleness = told[end + 1 :].astype(np.int64)
        self._totals += told[:end]
        self._examples += int(told[end])
        if self._trains:
            self.staleness.add(staleness)
            for late in staleness:
                self._model.optimizer.count_asynchronous_step(late >= 0)

    def _logs(self) -> Logs:
        return metrics.to_python(self._step.results(self._totals))
