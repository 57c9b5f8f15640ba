"""Executions of a parameter-server job: the coordinator schedules steps, workers make them at their own speed.

It has the form of `ExecutionLoop`, so that `Fit` and `Evaluation` need not know. But steps are scheduled and not yet
made when a call returns: up to `max_pending_steps` of them wait or run, logs are those of the steps that are known to
be made, and `settle` waits for the rest.

A step gives back what it adds to the metrics, and the coordinator adds it up, once for each step. Keras's own way, in
which workers change the metrics' variables on the ps, loses some and counts a step that was tried again twice.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdml import heartbeat
from tfdml.checkpoint import Position
from tfdml.data.read_errors import data_errors
from tfdml.training import metrics
from tfdml.training.async_step import AsyncStep
from tfdml.training.feed import Feed
from tfdml.training.loop import NUM_VOTES, Execution
from tfdml.training.metrics import Logs
from tfdml.training.remote_result import fetch
from tfdml.training.staleness import Staleness

_log = logging.getLogger("tfdml")


class CoordinatorLoop:
    """Runs `step_name` of `model` on the workers, over the batches of a feed.

    Args:
        coordinator: the `ClusterCoordinator` of the strategy.
        step_name: "train_step" or "test_step".
        start: where the feed begins the first time.
        max_pending_steps: so many steps may be scheduled and not known to be made.
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
        max_pending_steps: int,
        pull_dtype: str | None = None,
    ):
        self._model = model
        self._coordinator = coordinator
        self._feed = feed
        self._position = start
        self._most_pending = max_pending_steps
        self._step = AsyncStep(model, coordinator.strategy, step_name, feed, pull_dtype)
        self._trains = step_name == "train_step"
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

    def __call__(self, max_steps: int, votes: Sequence[bool] = ()) -> Execution:
        """Schedule up to `max_steps` steps; see `Execution`, of which `steps` are those that were scheduled."""
        scheduled = 0
        while scheduled < max_steps:
            steps = min(max_steps - scheduled, self._feed.most_steps)
            arguments = self._feed.arguments(self._position, steps)
            if arguments is None:
                break
            first = tf.constant(self._position.global_step, tf.int64)
            remote = self._coordinator.schedule(
                self._step.closure, args=(tf.constant(steps), first, *arguments)
            )
            self._pending.append((remote, steps))
            scheduled += steps
            position = self._position
            self._position = Position(
                position.epoch, position.step_in_epoch + steps, position.global_step + steps
            )
            while sum(steps for _, steps in self._pending) > self._most_pending:
                self._take_one()
        examples, self._examples = self._examples, 0
        return Execution(scheduled, examples, self._logs(), tuple(votes) or (False,) * NUM_VOTES)

    def settle(self) -> Logs:
        """Wait until all that was scheduled is made; the logs of it, which the metrics' variables hold, too."""
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
        remote, _ = self._pending.popleft()
        with data_errors(), heartbeat.waiting():
            told = fetch(self._coordinator, remote)
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
