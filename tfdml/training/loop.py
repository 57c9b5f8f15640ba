"""One execution: up to `steps_per_execution` steps and one reading of the metrics, in one compiled function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfdml import heartbeat
from tfdml.checkpoint import Position
from tfdml.checkpoint.iterator_state import iterator_bytes, load_iterator
from tfdml.data.read_errors import data_errors
from tfdml.monitoring.stamps import StepProbe
from tfdml.training import metrics, replica
from tfdml.training.metrics import Logs
from tfdml.training.replica import ReplicaStep
from tfdml.training.stream import BEGINNING, Stream

StepFunction = Callable[[Any], Any]
# Steps done, examples in them, whether the data has ended, the last logs.
State = tuple[tf.Tensor, tf.Tensor, tf.Tensor, Logs]
# A task asks for something by a vote; what some task asks for all know after the execution, at no cost.
NUM_VOTES = 3


class Execution(NamedTuple):
    """What one execution did; the same on every task.

    Attributes:
        steps: how many there were, fewer than were wanted only at the end of the data.
        examples: in them, on all replicas together.
        logs: of all steps since the metrics were reset.
        votes: for each, whether some task had voted for it.
        measured: what the probe has found (`StepProbe.result`), where it was to measure; else None.
    """

    steps: int
    examples: int
    logs: Logs
    votes: tuple[bool, ...]
    measured: Any = None


def loop_for(
    model: keras.Model,
    strategy: tf.distribute.Strategy,
    step_name: str,
    stream: Stream,
    *,
    counts_steps: bool,
    start: Position = BEGINNING,
) -> ExecutionLoop:
    """The loop over `model.train_step` or `model.test_step`, which may be the user's own."""
    overridden = getattr(type(model), step_name) is not getattr(keras.Model, step_name)
    return ExecutionLoop(
        model,
        strategy,
        getattr(model, step_name),
        stream,
        start=start,
        counts_steps=counts_steps,
        carries_logs=overridden,
    )


class ExecutionLoop:
    """Runs `step` on every replica, over the slices of a stream.

    Args:
        model: built in the scope of `strategy`, optimizer and metrics included.
        strategy: the strategy to run on.
        step: `model.train_step` or `model.test_step`.
        stream: where the slices come from. Of an endless stream the loop owns one iterator, which costs nothing
            a call; passing one to a compiled function costs about a millisecond.
        start: where the stream begins the first time.
        counts_steps: the caller asks for no more steps than there are, so the end need not be looked for.
        carries_logs: the user's own step returns logs that are no metrics; the last ones are kept.
    """

    def __init__(
        self,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        step: StepFunction,
        stream: Stream,
        *,
        start: Position = BEGINNING,
        counts_steps: bool = False,
        carries_logs: bool = False,
    ):
        self._model = model
        self._strategy = strategy
        self._stream = stream
        self._start = start
        self._iterator: Any = iter(stream.open(start)) if stream.endless else None
        self._counts_steps = counts_steps
        self._step = tf.function(step, jit_compile=True) if model.jit_compile else step
        self._carries_logs = carries_logs
        self._log_spec: dict[str, tf.TensorSpec] | None = None if carries_logs else {}
        self._max_steps: dict[int, tf.Tensor] = {}
        self._local_state = metrics.local_state(model)
        # Compiled by whether one step is wanted (no loop then), and whether it is measured.
        self._compiled: dict[tuple[bool, bool], Callable[..., Any]] = {}
        self.probe: StepProbe | None = None  # what measures executions that are to be measured
        self._active_probe: StepProbe | None = None  # it, while such an execution is traced
        self._voted = (False,) * NUM_VOTES
        with tf.device("CPU:0"):
            self._votes = tf.Variable(tf.zeros([NUM_VOTES], tf.float64), trainable=False)

    def new_pass(self) -> None:
        """Begin to read the data from its start, unless the stream is endless."""
        if not self._stream.endless:
            self._iterator = iter(self._stream.open(self._start))
            self._start = BEGINNING

    def __call__(
        self, max_steps: int, votes: Sequence[bool] = (), measures: bool = False
    ) -> Execution:
        """Run up to `max_steps` steps, and read the metrics.

        Args:
            votes: this task's, NUM_VOTES or none.
            measures: let `probe` measure; on all tasks or on none.
        """
        if self._log_spec is None:
            self._log_spec = self._trace_log_spec()
        if max_steps not in self._max_steps:
            self._max_steps[max_steps] = tf.constant(max_steps)
        if votes and tuple(votes) != self._voted:
            self._voted = tuple(votes)
            self._votes.assign([float(vote) for vote in votes])
        run = self._function(self._model.steps_per_execution == 1, measures)
        arguments = () if self._stream.endless else (self._iterator,)
        with data_errors(), heartbeat.waiting():
            done, examples, logs, voted, found = run(self._max_steps[max_steps], *arguments)
            told = tuple(bool(vote > 0) for vote in voted.numpy())
        measured = self.probe.result(found) if measures and self.probe else None
        return Execution(int(done), int(examples), metrics.to_python(logs), told, measured)

    def settle(self) -> Logs | None:
        """Wait until all steps are made that calls have told of; None because they always are."""
        return None

    def report(self) -> Logs:
        """What there is to say of the steps so far, for the logs of an epoch."""
        return {}

    def counts(self) -> dict[str, np.ndarray]:
        return {}

    # -- where this task's data stands

    @property
    def begins_anywhere(self) -> bool:
        """Whether the stream finds the very batches of the position it starts at."""
        return self._stream.begins_anywhere

    def data_state(self) -> bytes | None:
        """The state of the iterator; None where it has none that says where it stands, or copies to devices.

        Raises:
            DataError: the pipeline cannot be saved.
        """
        if not (self._stream.has_state and isinstance(self._iterator, tf.data.Iterator)):
            return None
        return iterator_bytes(self._iterator)

    def load_data_state(self, state: bytes) -> None:
        """Bring the iterator of a loop that began at BEGINNING to where `data_state` found it."""
        load_iterator(self._iterator, state)

    def _function(self, single: bool, measures: bool) -> Callable[..., Any]:
        key = (single, measures)
        if key not in self._compiled:
            probe = self.probe if measures else None

            def execute(max_steps: tf.Tensor, iterator: Any = None) -> Any:
                self._active_probe = probe
                try:
                    with probe.observing() if probe else nullcontext():
                        return self._execute(iterator, max_steps, single)
                finally:
                    self._active_probe = None

            if self._model.run_eagerly:
                self._compiled[key] = execute
            else:
                compiled = tf.function(execute, reduce_retracing=True, autograph=False)
                if self._stream.endless:  # without an iterator to look at, the look-up can go too
                    compiled = compiled.get_concrete_function(tf.TensorSpec([], tf.int32))
                self._compiled[key] = compiled
        return self._compiled[key]

    # -- everything below is traced

    def _execute(
        self, iterator: Any, max_steps: tf.Tensor, single: bool
    ) -> tuple[tf.Tensor, tf.Tensor, Logs, tf.Tensor, tuple[tf.Tensor, ...]]:
        assert self._log_spec is not None
        probe = self._active_probe
        if probe:
            probe.begins()
        blank = {name: tf.zeros(s.shape, s.dtype) for name, s in self._log_spec.items()}
        state: State = (tf.constant(0), tf.constant(0, tf.int64), tf.constant(False), blank)
        if single:
            state = self._one_step(iterator, *state)
        else:
            state = tf.while_loop(
                lambda done, examples, ended, logs: tf.logical_and(
                    done < max_steps, tf.logical_not(ended)
                ),
                lambda *state: self._one_step(iterator, *state),
                state,
            )
        done, examples, _, logs = state
        read, votes = self._strategy.run(self._read, args=(logs,))
        read = tf.nest.map_structure(self._first_local, read)
        found = self._strategy.run(probe.ended, args=(done,)) if probe else ()
        found = tuple(self._first_local(each) for each in found)
        return done, examples, read, self._first_local(votes), found

    def _one_step(
        self, iterator: Any, done: tf.Tensor, examples: tf.Tensor, ended: tf.Tensor, logs: Logs
    ) -> State:
        probe = self._active_probe
        with probe.reads(done) if probe else nullcontext():
            data, rows, global_rows = self._next(iterator)
        if probe:
            probe.has_read(tf.nest.map_structure(self._first_local, data))

        def run() -> Logs:
            outputs = self._strategy.run(self._replica_step, args=(data, rows, global_rows))
            if not self._carries_logs:
                return {}
            return tf.nest.map_structure(self._local_mean, outputs)

        total = self._first_local(global_rows)
        examples += tf.cast(total, tf.int64)
        if self._counts_steps:
            return done + 1, examples, ended, run()
        ended = tf.equal(total, 0)
        logs = tf.cond(ended, lambda: logs, run)
        return done + tf.cast(tf.logical_not(ended), tf.int32), examples, ended, logs

    def _next(self, iterator: Any) -> tuple[Any, Any, Any]:
        element = next(iterator or self._iterator)
        if self._stream.constant_rows is not None:
            rows = tf.constant(self._stream.constant_rows)
            return element, rows, rows
        data, rows, global_rows = element
        if not self._stream.global_rows_known:
            global_rows = self._strategy.reduce(tf.distribute.ReduceOp.SUM, rows, axis=None)
        return data, rows, global_rows

    def _replica_step(self, data: Any, rows: tf.Tensor, global_rows: tf.Tensor) -> Logs:
        probe = self._active_probe
        with probe.step(data) if probe else nullcontext(data) as data:
            return self._make_step(data, rows, global_rows)

    def _make_step(self, data: Any, rows: tf.Tensor, global_rows: tf.Tensor) -> Logs:
        step = self._describe(rows, global_rows)
        if step.rows is None:
            with replica.active(step):
                return _scalars(self._step(data)) if self._carries_logs else _ran(self._step(data))
        before = [tf.identity(variable.value) for variable in self._local_state]
        with tf.control_dependencies(before), replica.active(step):
            outputs = self._step(data)
        if before and step.num_replicas > 1:
            tf.cond(step.rows > 0, lambda: tf.constant(0), lambda: self._restore(before))
        return _scalars(outputs) if self._carries_logs else {}

    def _restore(self, values: list[tf.Tensor]) -> tf.Tensor:
        """Undo what the copy of an example that stands in for an empty slice did to metrics and statistics."""
        for variable, value in zip(self._local_state, values, strict=True):
            variable.value.assign(value)
        return tf.constant(0)

    def _read(self, logs: Logs) -> tuple[Logs, tf.Tensor]:
        votes = tf.identity(self._votes)
        probe = self._active_probe
        with probe.reads_metrics() if probe else nullcontext():
            read = metrics.read_on_replica(self._model, self._describe(None, None), logs, votes)
        if probe:
            probe.has_metrics(read)
        return read

    def _describe(self, rows: tf.Tensor | None, global_rows: tf.Tensor | None) -> ReplicaStep:
        context = tf.distribute.get_replica_context()
        number = context.num_replicas_in_sync
        replica_id = context.replica_id_in_sync_group
        static_id = tf.get_static_value(replica_id)
        if static_id is not None:
            replica_id = int(static_id)
        if rows is None or self._stream.equal_slices:
            return ReplicaStep(replica_id, number)
        share = tf.cast(rows * number, tf.float64) / tf.cast(global_rows, tf.float64)
        return ReplicaStep(replica_id, number, rows, share)

    def _first_local(self, value: Any) -> Any:
        return self._strategy.experimental_local_results(value)[0]

    def _local_mean(self, value: Any) -> tf.Tensor:
        return tf.reduce_mean(tf.stack(self._strategy.experimental_local_results(value)), axis=0)

    def _trace_log_spec(self) -> dict[str, tf.TensorSpec]:
        """Trace the user's step once to learn the names, shapes and dtypes of its logs."""

        @tf.function(autograph=False)
        def probe(iterator: Any) -> Logs:
            data, rows, global_rows = self._next(iterator)
            outputs = self._strategy.run(self._replica_step, args=(data, rows, global_rows))
            return tf.nest.map_structure(self._local_mean, outputs)

        argument = None if self._stream.endless else self._iterator
        outputs = probe.get_concrete_function(argument).structured_outputs
        return {name: tf.TensorSpec(value.shape, value.dtype) for name, value in outputs.items()}


def _ran(_: Any) -> Logs:
    return {}


def _scalars(outputs: Any) -> Logs:
    """The logs of a user's step as a dict of tensors."""
    if isinstance(outputs, dict):
        return {name: tf.convert_to_tensor(value) for name, value in outputs.items()}
    return {} if outputs is None else {"loss": tf.convert_to_tensor(outputs)}
