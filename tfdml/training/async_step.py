"""The graph that a worker runs: some steps, each with an update of its own, and what they add to the metrics."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdml.checkpoint import Position
from tfdml.optimizers.asynchronous import step_of_worker
from tfdml.training import replica
from tfdml.training.feed import Feed
from tfdml.training.metrics import drifting_variables
from tfdml.training.pulling_step import PullingStep
from tfdml.training.replica import ReplicaStep


class AsyncStep:
    """`train_step` or `test_step` of `model`, as a function to schedule.

    The step runs in a scope in which nothing is assigned: metrics begin at zero, and what they come to is what the
    step adds. Seeds stay as they are, and the number of the step is folded into what is drawn from them: a step that
    is tried again draws the same. Moving statistics are moved by what the step changed of them.

    Attributes:
        closure: (int64 [4]: steps, and the three numbers of the first one's Position; *arguments of the feed) ->
            float64 [num_totals] that is added to the metrics, then the examples, then the staleness of each update:
            one vector each way, because tensors travel one by one. Whole numbers are exact in it up to 2^53.
        num_totals: numbers in the variables of all metrics.
    """

    def __init__(
        self,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        step_name: str,
        feed: Feed,
        pull_dtype: str | None = None,
    ):
        self._model = model
        self._strategy = strategy
        self._step = getattr(model, step_name)
        if pull_dtype is not None and step_name == "train_step":
            self._step = PullingStep(model, pull_dtype)
        self._trains = step_name == "train_step"
        self._feed = feed
        self._metrics = list(model.metrics_variables)
        self._statistics = drifting_variables(model) if self._trains else []
        self._sizes = [int(np.prod(variable.shape)) for variable in self._metrics]
        self.num_totals = sum(self._sizes)
        self.closure = tf.function(self._run, autograph=False, reduce_retracing=True)
        self._results = tf.function(self._results_of, autograph=False)

    # -- on the coordinator

    def read_totals(self) -> np.ndarray:
        """What the variables of the metrics hold."""
        values = [np.ravel(variable.numpy()) for variable in self._metrics]
        return np.concatenate([np.zeros(0), *values]).astype(np.float64)

    def write_totals(self, totals: np.ndarray) -> None:
        """Let the variables of the metrics hold `totals`, for snapshots."""
        parts = np.split(totals, np.cumsum(self._sizes)[:-1]) if self._sizes else []
        for variable, part in zip(self._metrics, parts, strict=True):
            variable.assign(part.reshape(variable.shape))

    def results(self, totals: np.ndarray) -> dict[str, tf.Tensor]:
        """The metrics with these totals, by name."""
        return self._results(tf.constant(totals, tf.float64))

    def _results_of(self, totals: tf.Tensor) -> dict[str, tf.Tensor]:
        parts = tf.split(totals, self._sizes)
        mapping = [
            (variable, tf.cast(tf.reshape(part, variable.shape), variable.dtype))
            for variable, part in zip(self._metrics, parts, strict=True)
        ]
        with keras.StatelessScope(state_mapping=mapping):
            return dict(self._model.get_metrics_result())

    # -- on a worker

    def _run(self, numbers: tf.Tensor, *arguments: Any) -> tf.Tensor:
        many, *position = tf.unstack(numbers)
        steps, start = tf.cast(many, tf.int32), Position(*position)
        next_batch = self._feed.read(steps, start, *arguments)
        first = tf.convert_to_tensor(start.global_step)

        def one(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            data, rows = next_batch()
            added, staleness = self._strategy.run(self._on_replica, args=(data, number))
            return added, tf.cast(rows, tf.int64), staleness

        if self._feed.most_steps == 1:
            added, rows, staleness = one(first)
            return _in_one_vector(added, rows, staleness[None])
        added = tf.zeros([self.num_totals], tf.float64)
        late = tf.TensorArray(tf.int64, size=steps)

        def body(done: tf.Tensor, added: tf.Tensor, rows: tf.Tensor, late: Any) -> Any:
            more, more_rows, staleness = one(first + tf.cast(done, tf.int64))
            return done + 1, added + more, rows + more_rows, late.write(done, staleness)

        state = (tf.constant(0), added, tf.constant(0, tf.int64), late)
        _, added, rows, late = tf.while_loop(lambda done, *_: done < steps, body, state)
        return _in_one_vector(added, rows, late.stack())

    def _on_replica(self, data: Any, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        model = self._model
        before = [(variable, variable.value.read_value()) for variable in self._statistics]
        zeros = [(variable, tf.zeros(variable.shape, variable.dtype)) for variable in self._metrics]
        staleness = tf.constant(0, tf.int64)
        with (
            replica.active(ReplicaStep(number, 1)),
            keras.StatelessScope(state_mapping=[*zeros, *before]) as scope,
        ):
            if self._trains:
                with step_of_worker(model.optimizer, number) as step:
                    self._step(data)
                (staleness,) = step.staleness or [staleness]
            else:
                self._step(data)
        # By the difference, under the variable's lock: other workers move them at the same time.
        for variable, old in before:
            variable.value.assign_add(tf.cast(scope.get_current_value(variable), old.dtype) - old)
        added = [scope.get_current_value(variable) for variable in self._metrics]
        flat = [tf.reshape(tf.cast(value, tf.float64), [-1]) for value in added]
        return tf.concat([tf.zeros([0], tf.float64), *flat], axis=0), staleness


def _in_one_vector(added: tf.Tensor, rows: tf.Tensor, staleness: tf.Tensor) -> tf.Tensor:
    return tf.concat([added, *(tf.cast(x, tf.float64) for x in (rows[None], staleness))], axis=0)
