"""The Trainer: `fit`, `evaluate` and `predict` of a compiled Keras model, over any number of replicas."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfdml import strategies
from tfdml.checkpoint import Position
from tfdml.data.source import Source
from tfdml.errors import ConfigError, DataError
from tfdml.training import keras_batchnorm, keras_losses, keras_random, prepare
from tfdml.training.agreement import Agreement
from tfdml.training.backup import BackupAndRestore
from tfdml.training.callbacks import Callbacks
from tfdml.training.class_weight import with_class_weight
from tfdml.training.exchange_report import check_same_library, exchange_logs
from tfdml.training.loop import ExecutionLoop
from tfdml.training.metrics import Logs
from tfdml.training.predict import predict
from tfdml.training.progress import ProgressReporter
from tfdml.training.stream import BEGINNING, Data, Stream, make_stream

_log = logging.getLogger("tfdml")

# Compiled evaluation loops that are kept, by data set.
_KEPT_EVALUATIONS = 4

keras_losses.install()
keras_batchnorm.install()
keras_random.install()


class Trainer:
    """Trains `model` on all replicas of `strategy`, with the mathematics of one device.

    Data sets hold global batches and are the same on every task; the Trainer gives each replica its slice
    (sizes may differ by one: every example counts the same). A function of the input context, which reads a
    part of the data and batches it for one replica, works too, and so does a `tfdml.data.Source`, of which every
    task reads its own records only. Metrics, callbacks and `steps_per_execution` are those of `compile`.

    A plain Keras optimizer is wrapped in `tfdml.optimizers.DistributedOptimizer`.

    Args:
        model: compiled, and built (with its optimizer and metrics) in `strategy.scope()`.
        strategy: from `tfdml.strategies.create`, or any synchronous `tf.distribute.Strategy`; default the
            one in whose scope the model was made.

    Raises:
        ConfigError: the model is not compiled, was built outside the scope, or asks for XLA where it cannot work.
    """

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy | None = None):
        self.model = model
        self.strategy = prepare.check_strategy(model, strategy)
        prepare.check_model(model, self.strategy)
        prepare.check_jit(model, self.strategy)
        prepare.use_distributed_optimizer(model, self.strategy)
        self._agreement = Agreement(self.strategy)
        self._streams: dict[tuple[int, bool], tuple[Any, Stream, ExecutionLoop]] = {}

    @property
    def is_chief(self) -> bool:
        """Whether this task writes files and prints."""
        return strategies.is_chief(self.strategy)

    # -- training

    @strategies.names_lost_peers
    def fit(
        self,
        train_data: Data,
        *,
        epochs: int = 1,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_data: Data | None = None,
        validation_steps: int | None = None,
        validation_freq: int = 1,
        callbacks: Sequence[keras.callbacks.Callback] | None = None,
        class_weight: Mapping[int, float] | None = None,
        verbose: bool | str = "auto",
    ) -> keras.callbacks.History:
        """Train, with the meaning that Keras's `Model.fit` gives to the arguments.

        Args:
            train_data: global batches of (x, y) or (x, y, sample_weight); or a function of the input context; or
                a Source of such batches, which gives epoch e the same batches whatever `initial_epoch` is.
            steps_per_epoch: steps of an epoch; the data then repeats without end. Default: one pass.
            verbose: report progress on the chief; "auto" means yes.

        Returns:
            History: the same on every task.

        Raises:
            DataError: the data is empty or not batched.
        """
        _check_counts(epochs=epochs, steps_per_epoch=steps_per_epoch, initial_epoch=initial_epoch)
        if class_weight is not None:
            train_data = with_class_weight(train_data, class_weight)
        stream = make_stream(
            train_data, self.strategy, endless=True, marks_end=steps_per_epoch is None
        )
        model = self.model
        prepare.build(model, self.strategy, stream.element_spec)
        compresses = (
            model.optimizer is not None
            and model.optimizer.compresses
            and self.strategy.num_replicas_in_sync > 1
        )
        if compresses:
            check_same_library(self.strategy)
        steps = steps_per_epoch or stream.num_batches
        backup = next((c for c in callbacks or [] if isinstance(c, BackupAndRestore)), None)
        start = Position(initial_epoch, 0, 0)
        if backup is not None:
            start = self._restore(backup, start)
        loop = self._loop(
            stream,
            "train_step",
            start=_in_stream(start, stream, steps),
            counts_steps=steps is not None,
        )
        self._examples = 0
        reporter = ProgressReporter(lambda: self._examples, steps, epochs)
        shows = self.is_chief and verbose not in (False, 0)
        hooks = self._callbacks(
            callbacks, [reporter] if shows else [], epochs=epochs, steps=steps, add_history=True
        )
        # Also where a task has another list of callbacks than the rest: they must ask at the same points.
        hooks.asks_every_execution = self._agreement.any(hooks.asks_every_execution)
        model.stop_training = False
        try:
            hooks.on_train_begin()
            logs: Logs = {}
            for epoch in range(start.epoch, epochs):
                model.reset_metrics()
                hooks.on_epoch_begin(epoch)
                loop.new_pass()
                first_step = start.step_in_epoch if epoch == start.epoch else 0
                logs = self._train_epoch(loop, first_step, steps, hooks)
                if validation_data is not None and (epoch + 1) % validation_freq == 0:
                    validation = self._evaluate(validation_data, validation_steps, hooks)
                    logs = logs | {f"val_{name}": value for name, value in validation.items()}
                if compresses:
                    logs = logs | exchange_logs(model.optimizer, self._agreement)
                hooks.on_epoch_end(epoch, logs)
                if backup is not None:
                    self._save(backup, epoch + 1)
                if self._agreement.any(model.stop_training):
                    break
            if model.optimizer is not None and epochs > start.epoch:
                model.optimizer.finalize_variable_values(model.trainable_variables)
            hooks.on_train_end(logs)
        finally:
            reporter.close()
        if compresses and shows:
            _log.info("gradients: %s", model.optimizer.exchange_stats())
        # A task that leaves early would take its part of the cluster away from the others.
        self._agreement.barrier()
        if backup is not None and backup.delete_checkpoint and self.is_chief:
            backup.checkpointer.delete()
        return model.history

    def _restore(self, backup: BackupAndRestore, start: Position) -> Position:
        """Load the newest snapshot on every task and return where to begin: `start` where there is none."""
        restored = backup.checkpointer.restore(self.model)
        epoch = start.epoch if restored is None else restored[0].epoch
        if not self._agreement.same(epoch):
            raise DataError(
                f"tasks found different snapshots in {backup.checkpointer.directory} (this one: epoch {epoch}). "
                "Put the directory on storage that every task sees."
            )
        if restored is None:
            return start
        position, parts = restored
        if self.is_chief:
            _log.info("going on after epoch %d, step %d", position.epoch, position.global_step)
        if parts:
            replicas = self.strategy.num_replicas_in_sync
            self.model.optimizer.replica_state.load(
                parts,
                first_replica=self._agreement.task * (replicas // self._agreement.num_tasks),
                num_replicas=replicas,
            )
        return position

    def _save(self, backup: BackupAndRestore, epoch: int) -> None:
        """Write a snapshot: every task what it alone has, then the chief the rest."""
        position = Position(epoch, 0, int(self.model.optimizer.iterations.numpy()))
        part = self.model.optimizer.replica_state.export_local()
        num_parts = self._agreement.num_tasks if part else 0
        failure: OSError | None = None
        try:
            if part:
                backup.checkpointer.save_part(part, position, self._agreement.task)
        except OSError as error:
            failure = error
        # Also the barrier before the chief says that the snapshot is whole.
        if part and self._agreement.any(failure is not None):
            raise DataError(
                f"a task could not write its part of the snapshot to {backup.checkpointer.directory} "
                f"({failure or 'not this task'}). Older snapshots are whole; free space there and start again."
            ) from failure
        if self.is_chief:
            backup.checkpointer.save(self.model, position, num_parts)

    def _train_epoch(
        self, loop: ExecutionLoop, first_step: int, steps: int | None, hooks: Callbacks
    ) -> Logs:
        model = self.model
        at_once = model.steps_per_execution
        step, self._examples, logs = first_step, 0, {}
        while steps is None or step < steps:
            hooks.on_train_batch_begin(step)
            wanted = at_once if steps is None else min(at_once, steps - step)
            done, examples, new_logs = loop(wanted)
            if done == 0:
                break
            step, logs = step + done, new_logs
            self._examples += examples
            hooks.on_train_batch_end(step - 1, logs)
            if hooks.asks_every_execution:
                model.stop_training = self._agreement.any(model.stop_training)
            if model.stop_training or done < wanted:
                break
        if step == first_step:
            raise DataError(
                "the training data yielded no batch. Check its source, and any filter or take."
            )
        return logs

    # -- evaluation and prediction

    @strategies.names_lost_peers
    def evaluate(
        self,
        data: Data,
        *,
        steps: int | None = None,
        callbacks: Sequence[keras.callbacks.Callback] | None = None,
    ) -> Logs:
        """Return loss and metrics over `data` (every example counted once) as a dict of floats."""
        _check_counts(steps=steps)
        return self._evaluate(data, steps, self._callbacks(callbacks, [], steps=steps))

    def _evaluate(self, data: Data, steps: int | None, hooks: Callbacks) -> Logs:
        stream, loop = self._evaluation(data)
        model = self.model
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
            done, _, new_logs = loop(wanted)
            if done == 0:
                break
            step, logs = step + done, new_logs
            hooks.on_test_batch_end(step - 1, logs)
            if done < wanted:
                break
        if step == 0:
            raise DataError(
                "the evaluation data yielded no batch. Check its source, and any filter or take."
            )
        hooks.on_test_end(logs)
        return logs

    def _evaluation(self, data: Data) -> tuple[Stream, ExecutionLoop]:
        """The stream and the compiled loop for `data`, kept so that every epoch's validation reuses them."""
        key = (id(data), self.model.run_eagerly)
        if key not in self._streams:
            while len(self._streams) >= _KEPT_EVALUATIONS:
                self._streams.pop(next(iter(self._streams)))
            stream = make_stream(data, self.strategy)
            prepare.build(self.model, self.strategy, stream.element_spec)
            loop = self._loop(stream, "test_step", counts_steps=stream.num_batches is not None)
            self._streams[key] = (data, stream, loop)
        _, stream, loop = self._streams[key]
        return stream, loop

    @strategies.names_lost_peers
    def predict(self, data: tf.data.Dataset | Source, *, steps: int | None = None) -> Any:
        """Return the model's outputs for all of `data`, in its order, as NumPy arrays on every task.

        Args:
            data: global batches of x, (x,) or (x, y); only x is used.
            steps: batches to predict; default all.
        """
        _check_counts(steps=steps)
        return predict(self.model, self.strategy, data, steps)

    # -- parts

    def _loop(
        self,
        stream: Stream,
        step_name: str,
        *,
        counts_steps: bool,
        start: Position = BEGINNING,
    ) -> ExecutionLoop:
        overridden = getattr(type(self.model), step_name) is not getattr(keras.Model, step_name)
        return ExecutionLoop(
            self.model,
            self.strategy,
            getattr(self.model, step_name),
            stream,
            start=start,
            counts_steps=counts_steps,
            carries_logs=overridden,
        )

    def _callbacks(
        self,
        callbacks: Sequence[keras.callbacks.Callback] | None,
        own: Sequence[keras.callbacks.Callback],
        **params: Any,
    ) -> Callbacks:
        return Callbacks(
            callbacks,
            self.model,
            chief=self.is_chief,
            several_tasks=self._agreement.several_tasks,
            own=own,
            verbose=0,
            **params,
        )


def _in_stream(position: Position, stream: Stream, steps: int | None) -> Position:
    """Where the data stands: its own epochs have other lengths where `steps_per_epoch` was given."""
    if steps is None or stream.num_batches is None or steps == stream.num_batches:
        return position
    done = position.epoch * steps + position.step_in_epoch
    epoch, step = divmod(done, stream.num_batches)
    return Position(epoch, step, position.global_step)


def _check_counts(**counts: int | None) -> None:
    for name, value in counts.items():
        smallest = 0 if name == "initial_epoch" else 1
        if value is not None and (not isinstance(value, int) or value < smallest):
            raise ConfigError(
                f"`{name}` must be a whole number of at least {smallest}, got {value!r}."
            )
