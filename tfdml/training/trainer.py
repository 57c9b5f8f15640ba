"""The Trainer: `fit`, `evaluate` and `predict` of a compiled Keras model, over any number of replicas."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from typing import Any

import keras
import tensorflow as tf

from tfdml import heartbeat, strategies
from tfdml.checkpoint import Position
from tfdml.data.source import Source
from tfdml.errors import ConfigError
from tfdml.monitoring.callback import Monitoring
from tfdml.monitoring.monitor import Monitor
from tfdml.strategies.lost_peers import cluster_of
from tfdml.testing import faults
from tfdml.training import keras_batchnorm, keras_losses, keras_random, prepare
from tfdml.training.backup import BackupAndRestore
from tfdml.training.callbacks import Callbacks
from tfdml.training.class_weight import with_class_weight
from tfdml.training.coordinator import CoordinatorRunner
from tfdml.training.evaluation import Evaluation
from tfdml.training.exchange_report import check_same_library
from tfdml.training.fit import Fit
from tfdml.training.loop import ExecutionLoop
from tfdml.training.metrics import Logs
from tfdml.training.progress import ProgressReporter
from tfdml.training.recovery import Recovery
from tfdml.training.runner import Batches, Runner
from tfdml.training.stream import Data, static_rows
from tfdml.training.synchronous import SynchronousRunner

_log = logging.getLogger("tfdml")

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

    On parameter servers a step is made by one worker, on a whole batch, at its own speed; callbacks and saving are
    the same. A Source is read by the workers; a data set of batches goes through the coordinator.

    Args:
        model: compiled, and built (with its optimizer and metrics) in `strategy.scope()`.
        strategy: from `tfdml.strategies.create`, or any `tf.distribute.Strategy`; default the one in whose scope
            the model was made.
        max_pending_steps: on parameter servers, how many steps may be scheduled and not known to be made, which
            bounds how late an update can come; default two executions, or 16 quick steps, for each worker.
        pull_dtype: on parameter servers, "bfloat16" or "float16", in which weights travel to the workers.

    Raises:
        ConfigError: the model is not compiled, was built outside the scope, or asks for XLA where it cannot work.
    """

    def __init__(
        self,
        model: keras.Model,
        strategy: tf.distribute.Strategy | None = None,
        *,
        max_pending_steps: int | None = None,
        pull_dtype: str | None = None,
    ):
        _check_counts(max_pending_steps=max_pending_steps)
        self.model = model
        self.strategy = prepare.check_strategy(model, strategy)
        prepare.check_model(model, self.strategy)
        prepare.check_precision(model, self.strategy)
        prepare.check_jit(model, self.strategy)
        prepare.use_distributed_optimizer(model, self.strategy)
        self._runner: Runner
        if isinstance(self.strategy, tf.distribute.ParameterServerStrategy):
            self._runner = CoordinatorRunner(model, self.strategy, max_pending_steps, pull_dtype)
        else:
            _refuse(max_pending_steps=max_pending_steps, pull_dtype=pull_dtype)
            self._runner = SynchronousRunner(model, self.strategy)
        self._evaluation = Evaluation(model, self._runner)

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
        model, runner, agreement = self.model, self._runner, self._runner.agreement
        batches = runner.training_data(train_data, counts_steps=steps_per_epoch is not None)
        prepare.build(model, self.strategy, batches.element_spec)
        compresses = (
            model.optimizer is not None
            and model.optimizer.compresses
            and self.strategy.num_replicas_in_sync > 1
        )
        if compresses:
            check_same_library(self.strategy)
        steps = steps_per_epoch or batches.num_batches
        shows = self.is_chief and verbose not in (False, 0)
        fit: Fit
        reporter = ProgressReporter(lambda: fit.examples, steps, epochs)
        callbacks = faults.with_environment(callbacks)
        backup = next((c for c in callbacks if isinstance(c, BackupAndRestore)), None)
        recovery = backup and Recovery(backup, model, self.strategy, agreement)
        monitoring = next((c for c in callbacks if isinstance(c, Monitoring)), None)

        def validate(votes: Any, between: Any) -> Logs:
            return self._evaluation.run(validation_data, validation_steps, hooks, votes, between)

        with recovery or nullcontext(), closing(reporter), ExitStack() as stack:
            monitor = None
            if monitoring is not None:
                cluster = cluster_of(self.strategy)
                tasks = {"num_tasks": agreement.num_tasks, "task": agreement.task}
                monitor = Monitor(monitoring, model, self.strategy, cluster, **tasks)
                stack.push(monitor.ends)
            start = Position(initial_epoch, 0, 0)
            data_start = _in_data(start, batches, steps)
            if recovery is not None:
                start = recovery.find(start)
                if not recovery.has_data_state:  # which continues an iterator from the beginning
                    data_start = _in_data(start, batches, steps)
            hooks = self._callbacks(
                callbacks,
                [reporter] if shows else [],
                epochs=epochs,
                steps=steps,
                global_step=start.global_step,
                add_history=True,
            )
            # Also where a task has another list of callbacks than the rest: they must ask at the same points.
            hooks.asks_every_execution = agreement.any(hooks.asks_every_execution)
            loop = runner.training_loop(batches, data_start, counts_steps=steps is not None)
            if monitor is not None:
                if isinstance(loop, ExecutionLoop):
                    loop.probe = monitor.probe
                monitor.begins(start, epochs, steps, static_rows(batches.element_spec))
            fit = Fit(
                model=model,
                agreement=agreement,
                loop=loop,
                hooks=hooks,
                start=start,
                epochs=epochs,
                steps=steps,
                validate=None if validation_data is None else validate,
                validation_freq=validation_freq,
                recovery=recovery,
                monitor=monitor,
                compresses=compresses,
            )
            fit.run()
            if compresses and shows:
                _log.info("gradients: %s", model.optimizer.exchange_stats())
            if recovery is not None:
                recovery.end(fit.position, fit.logs)
        agreement.part()
        heartbeat.rest()
        return model.history

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
        logs = self._evaluation.run(data, steps, self._callbacks(callbacks, [], steps=steps))
        self._runner.agreement.part()
        heartbeat.rest()
        return logs

    @strategies.names_lost_peers
    def predict(self, data: tf.data.Dataset | Source, *, steps: int | None = None) -> Any:
        """Return the model's outputs for all of `data`, in its order, as NumPy arrays on every task.

        Args:
            data: global batches of x, (x,) or (x, y); only x is used.
            steps: batches to predict; default all.
        """
        _check_counts(steps=steps)
        outputs = self._runner.predict(data, steps)
        self._runner.agreement.part()
        heartbeat.rest()
        return outputs

    # -- parts

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
            several_tasks=self._runner.agreement.several_tasks,
            own=own,
            verbose=0,
            **params,
        )


def _in_data(position: Position, batches: Batches, steps: int | None) -> Position:
    """Where the data stands: its own epochs have other lengths where `steps_per_epoch` was given."""
    if steps is None or batches.num_batches is None:
        return position
    done = position.epoch * steps + position.step_in_epoch
    epoch, step = divmod(done, batches.num_batches)
    return Position(epoch, step, position.global_step)


def _refuse(**options: object) -> None:
    """What works on parameter servers only is not to be left out without a word."""
    for name, value in options.items():
        if value is not None:
            raise ConfigError(
                f"`{name}` must be None without parameter servers, got {value!r}. Leave it out, or use strategy "
                "'parameter_server'."
            )


def _check_counts(**counts: int | None) -> None:
    for name, value in counts.items():
        smallest = 0 if name == "initial_epoch" else 1
        if value is not None and (not isinstance(value, int) or value < smallest):
            raise ConfigError(
                f"`{name}` must be a whole number of at least {smallest}, got {value!r}."
            )
