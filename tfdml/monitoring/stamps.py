"""Times taken inside the graph of a step, and what else is measured there.

A `StepProbe` adds ops to a second compiled execution, which runs every N steps; the usual one has none of them and
costs what it did. A time is `tf.timestamp` after (a control dependency on) what has to be there, and what comes next
waits for it: TensorFlow runs what is ready in any order, and a time that nobody waits for may be taken at the end.
So in a measured step an update begins when all sums are there, and the bucket of the first variable, whose gradient
is the last one, is sent when all gradients are; other buckets travel meanwhile, as in every step.

TensorFlow runs ops that have an effect and no resource in the order in which they were made, and the time is such an
op. Replicas of one process are traced one after the other, so that the first time of the second one would wait
for the last time of the first one, which waits for the exchange with the second one: for ever. `_all_come_here`
lets all of them be traced up to one point.

What is noted lies in variables of the replica, because some of it happens inside of conditions (gradient
accumulation, loss scaling), out of which a tensor cannot be taken. At the end of the execution every replica sends
its numbers, and a hash of its variables, in one small all-gather: no collective is added to a step.

A time of day, not a clock that only runs forward: TensorFlow has no op for one. Should the host's clock be set in
the middle of an execution, that one measurement is wrong.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdml.collectives import raw
from tfdml.collectives.dense import Gradient
from tfdml.collectives.slices import sum_duplicates
from tfdml.monitoring import desync
from tfdml.monitoring.measurement import HOST, MAX_ROWS, ROW, Measurement

_SCALARS = ("compute_begin", "entry", "exit", "update_begin", "gradient_norm", "clipped")


class StepProbe:
    """What the execution loop calls while it traces a measured execution; also the optimizer's `ExchangeObserver`.

    Args:
        model: built, with its optimizer.
        num_tasks: those of the strategy.
        steps_per_execution: rows that may be needed.
        takes_times: whether times say anything: replicas compute on the host.
        observes: whether ops can be put between those of the step: XLA does not compile it.
        hashes: whether variables are compared.
    """

    def __init__(
        self,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        *,
        num_tasks: int,
        steps_per_execution: int,
        takes_times: bool,
        observes: bool,
        hashes: bool,
    ):
        self._model = model
        self._strategy = strategy
        self._num_tasks = num_tasks
        self._takes_times = takes_times
        self._observes = observes
        self._num_rows = min(steps_per_execution, MAX_ROWS)
        self._variables = desync.replicated_variables(model) if hashes else []
        self._gathers = strategy.num_replicas_in_sync > 1
        self.variable_names = [variable.path for variable in self._variables]
        self.trained = list(model.trainable_variables)
        self._hash_function: Any = None
        self._read_entry: dict[int, tf.Tensor] = {}  # by replica, whose traces take turns
        self._read_exit: dict[int, tf.Tensor] = {}
        # Each where its replica is: what is noted inside of a loop must not cross devices there.
        self._marks, self._rows, self._ratios = [], [], []
        for device in strategy.extended.worker_devices:
            with tf.device(device):
                self._marks.append({name: _number() for name in _SCALARS})
                self._rows.append(_number(self._num_rows + 1, len(ROW)))
                self._ratios.append(_number(len(self.trained)))
        with tf.device("CPU:0"):
            self._host = _number(len(HOST) + num_tasks)

    # -- outside of the graph

    def tell(self, facts: Mapping[str, float], link_rates: np.ndarray) -> None:
        """Set what this task says of itself (`measurement.HOST`), before the execution."""
        self._host.assign(np.concatenate([[facts[name] for name in HOST], link_rates]))

    def result(self, outputs: Sequence[tf.Tensor]) -> tuple[Measurement, np.ndarray]:
        """From what `ended` gave: the measurement, and the update-to-weight ratio of each of `trained`."""
        numbers, ratios = outputs
        return Measurement(numbers.numpy(), self._num_tasks), ratios.numpy()

    def hashes_of_each(self) -> np.ndarray:
        """int64 [num_replicas, variables], now; a collective, which every task must come to."""
        if self._hash_function is None:

            def on_replica() -> tf.Tensor:
                own = desync.hashes_of(self._variables)[None]
                return raw.everyone().all_gather(own) if self._gathers else own

            def ask() -> tf.Tensor:
                return self._local(self._strategy.run(on_replica))

            self._hash_function = tf.function(ask, autograph=False)
        return self._hash_function().numpy()

    # -- everything below is traced, in this order

    @contextlib.contextmanager
    def observing(self) -> Iterator[None]:
        """The optimizer tells of its exchange in this block."""
        optimizer = self._model.optimizer
        if optimizer is None or not self._observes:
            yield
            return
        optimizer.observer = self
        try:
            yield
        finally:
            optimizer.observer = None

    def begins(self) -> None:
        """An execution begins."""
        self._graph_begin = tf.timestamp()

    @contextlib.contextmanager
    def reads(self, done: tf.Tensor) -> Iterator[None]:
        """In this block the iterator is asked for the slice of step number `done` of this execution."""
        self._done = done
        self._input_begin = _time_after([done])
        with tf.control_dependencies([self._input_begin]):
            yield

    def has_read(self, data: Any) -> None:
        self._input_end = _time_after(tf.nest.flatten(data, expand_composites=True))

    @contextlib.contextmanager
    def step(self, data: Any) -> Iterator[Any]:
        """In this block a replica makes its step, on the data it is given; in replica context."""
        replica = raw.local_replica()
        marks = self._marks[replica]
        first = tf.equal(self._done, 0)
        for name in _SCALARS:
            marks[name].assign(0.0)
        begin = _time_after([self._input_end, *tf.nest.flatten(data, expand_composites=True)])
        marks["compute_begin"].assign(begin)
        _all_come_here()
        before = _only_if(first, lambda: [_flat(v) for v in self.trained], len(self.trained))
        with tf.control_dependencies([begin, *before]):
            data = tf.nest.map_structure(_same, data, expand_composites=True)
        yield data
        # Reads come after all that was written before, so these are there when the step has been made.
        state = [*self.trained, *self._model.metrics_variables]
        step_end = _time_after([tf.convert_to_tensor(v.value) for v in state])
        times = {
            "input_begin": self._input_begin,
            "input_end": self._input_end,
            "step_end": step_end,
            **{name: variable.read_value() for name, variable in marks.items()},
        }
        row = tf.stack([times[name] for name in ROW])
        place = tf.minimum(self._done, self._num_rows)  # the last row is for what is not kept
        self._rows[replica].scatter_update(tf.IndexedSlices(row[None], place[None]))

        def note() -> tf.Tensor:
            ratios = [_ratio(old, _flat(v)) for old, v in zip(before, self.trained, strict=True)]
            self._ratios[replica].assign(tf.stack(ratios))
            return tf.constant(0)

        if self.trained:
            tf.cond(first, note, lambda: tf.constant(0))

    def has_gradients(self, gradients: Sequence[Gradient]) -> list[Gradient]:
        """See `ExchangeObserver`."""
        marks = self._marks[raw.local_replica()]
        if not self._takes_times:
            return list(gradients)
        entry = _time_after([_values(gradient) for gradient in gradients])
        marks["entry"].assign(entry)
        return [_waiting_for(entry, gradients[0]), *gradients[1:]]

    def has_sums(
        self, sums: Sequence[Gradient], variables: Sequence[keras.Variable]
    ) -> list[Gradient]:
        """See `ExchangeObserver`."""
        marks = self._marks[raw.local_replica()]
        values = [_values(total) for total in sums]
        if self._takes_times:
            _all_come_here()
            time_of_exit = _time_after(values)
            marks["exit"].assign(time_of_exit)
            begin = _time_after([time_of_exit])
            marks["update_begin"].assign(begin)
            sums = [_waiting_for(begin, total) for total in sums]
        norms = tf.stack([_norm(total) for total in sums])
        norm = tf.norm(norms)
        marks["gradient_norm"].assign(norm)
        marks["clipped"].assign(self._clipped(norm, norms, values))
        return list(sums)

    @contextlib.contextmanager
    def reads_metrics(self) -> Iterator[None]:
        """In this block the metrics are read; in replica context."""
        metrics = [tf.convert_to_tensor(v.value) for v in self._model.metrics_variables]
        entry = self._read_entry[raw.local_replica()] = _time_after(metrics)
        with tf.control_dependencies([entry]):
            yield

    def has_metrics(self, read: Any) -> None:
        """They have been; in replica context."""
        self._read_exit[raw.local_replica()] = _time_after(tf.nest.flatten(read))

    def ended(self, steps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """[num_replicas, length] numbers of all, and the ratios of the first replica here; in replica context."""
        replica = raw.local_replica()
        high = low = tf.constant(0.0, tf.float64)
        if self._variables:
            high, low = desync.combined(desync.hashes_of(self._variables), self.variable_names)
        head = [
            self._graph_begin,
            self._read_entry[replica],
            self._read_exit[replica],
            high,
            low,
        ]
        rows = self._rows[replica].read_value()[: self._num_rows]
        own = tf.concat(
            [
                tf.stack([*head, tf.cast(steps, tf.float64)]),
                self._host.read_value(),
                tf.reshape(rows, [-1]),
            ],
            axis=0,
        )[None]
        gathered = raw.everyone().all_gather(own) if self._gathers else own
        return gathered, self._ratios[replica].read_value()

    def _local(self, value: Any) -> Any:
        return self._strategy.experimental_local_results(value)[0]

    def _clipped(self, norm: tf.Tensor, norms: tf.Tensor, values: Sequence[tf.Tensor]) -> tf.Tensor:
        """Which part of the sums is over the limit that the optimizer has for them, float64."""
        inner = self._model.optimizer.inner_optimizer
        if inner.global_clipnorm:
            over = norm > inner.global_clipnorm
        elif inner.clipnorm:
            over = norms > inner.clipnorm
        elif inner.clipvalue:
            largest = [tf.reduce_max(tf.abs(value)) for value in values]
            over = tf.stack([tf.cast(each, tf.float64) > inner.clipvalue for each in largest])
        else:
            return tf.constant(0.0, tf.float64)
        return tf.reduce_mean(tf.cast(over, tf.float64))


def _all_come_here() -> None:
    """Let all replicas of this process be traced up to here before any is traced further; in replica context."""
    if raw.num_local_replicas() > 1:
        tf.distribute.get_replica_context().merge_call(lambda strategy: None)


def _number(*shape: int) -> tf.Variable:
    return tf.Variable(tf.zeros(shape, tf.float64), trainable=False)


def _time_after(tensors: Sequence[Any]) -> tf.Tensor:
    with tf.control_dependencies([t for t in tensors if t is not None]):
        return tf.timestamp()


def _same(value: Any) -> Any:
    return tf.identity(value) if isinstance(value, tf.Tensor) else value


def _waiting_for(time: tf.Tensor, gradient: Gradient) -> Gradient:
    with tf.control_dependencies([time]):
        if isinstance(gradient, tf.IndexedSlices):
            values = tf.identity(gradient.values)
            return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
        return tf.identity(gradient)


def _values(gradient: Gradient) -> tf.Tensor:
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient


def _norm(gradient: Gradient) -> tf.Tensor:
    if isinstance(gradient, tf.IndexedSlices):
        gradient = sum_duplicates(gradient)
    return tf.cast(tf.norm(tf.cast(_values(gradient), tf.float32)), tf.float64)


def _flat(variable: keras.Variable) -> tf.Tensor:
    return tf.reshape(tf.convert_to_tensor(variable.value), [-1])


def _ratio(old: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    difference = tf.norm(tf.cast(new - old, tf.float32))
    return tf.cast(tf.math.divide_no_nan(difference, tf.norm(tf.cast(old, tf.float32))), tf.float64)


def _only_if(condition: tf.Tensor, values: Any, number: int) -> list[tf.Tensor]:
    """`values()` where `condition` holds, else tensors without elements."""
    if not number:
        return []
    return list(tf.cond(condition, values, lambda: [v[:0] for v in values()]))
