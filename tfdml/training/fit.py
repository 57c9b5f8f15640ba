"""One call of `Trainer.fit`: epochs of executions, with callbacks, validation and saving in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import TypeAlias

import keras

from tfdml import heartbeat
from tfdml.checkpoint import Position
from tfdml.errors import DataError
from tfdml.monitoring.monitor import Monitor
from tfdml.training.agreement import Agreement
from tfdml.training.callbacks import Callbacks
from tfdml.training.evaluation import Votes
from tfdml.training.exchange_report import exchange_logs
from tfdml.training.metrics import Logs
from tfdml.training.recovery import Recovery
from tfdml.training.runner import Loop

# Takes what `Evaluation.run` takes as `votes` and `between`.
Validate: TypeAlias = Callable[[Callable[[], Votes], Callable[[Votes], None]], Logs]


@dataclass
class Fit:
    """Trains from `start` to the end of epoch number `epochs`.

    Attributes:
        loop: runs the steps, from `start` on.
        hooks: all callbacks.
        steps: of an epoch; None where the data tells.
        validate: None without validation data; every `validation_freq` epochs.
        recovery: None where nothing is saved.
        monitor: None where nobody looks on.
        compresses: whether there are figures of the exchange for the logs.
        position: where training stands; logs: the last of its epoch; examples: trained in it.
    """

    model: keras.Model
    agreement: Agreement
    loop: Loop
    hooks: Callbacks
    start: Position
    epochs: int
    steps: int | None
    validate: Validate | None
    validation_freq: int
    recovery: Recovery | None
    monitor: Monitor | None
    compresses: bool

    def __post_init__(self) -> None:
        self.position = self.start
        self.logs: Logs = {}
        self.examples = 0
        self._stops = False

    def run(self) -> None:
        """Every task calls it at the same point."""
        model, start, recovery = self.model, self.start, self.recovery
        resumes = recovery is not None and recovery.found
        is_within = start.step_in_epoch > 0
        if recovery is not None:
            recovery.begin(self.loop, self.hooks.stateful, is_within)
        model.stop_training = False
        self.hooks.on_train_begin()
        if resumes and not is_within:
            self._load()
        for epoch in range(start.epoch, self.epochs):
            if self._stops:
                break
            model.reset_metrics()
            self.hooks.on_epoch_begin(epoch)
            if resumes and is_within and epoch == start.epoch:
                self._load()  # after what callbacks do to the model when an epoch begins
            self.loop.new_pass()
            if self.monitor is not None:
                self.monitor.epoch_begins()
            self._epoch(epoch)
        if model.optimizer is not None and (resumes or self.epochs > start.epoch):
            model.optimizer.finalize_variable_values(model.trainable_variables)
        self.hooks.on_train_end(self.logs)

    def _load(self) -> None:
        assert self.recovery is not None
        self.logs, self._stops = self.recovery.load()
        self.model.stop_training = self._stops

    def _epoch(self, epoch: int) -> None:
        self._train()
        logs, recovery = self.logs, self.recovery
        if self.validate is not None and (epoch + 1) % self.validation_freq == 0:
            validation = self._validation(self.validate)
            logs = logs | {f"val_{name}": value for name, value in validation.items()}
        if self.compresses:
            logs = logs | exchange_logs(self.model.optimizer, self.agreement)
        if self.model.optimizer is not None:
            logs = logs | self.model.optimizer.epoch_logs()
        logs = logs | self.loop.report()
        if recovery is not None:
            logs = logs | recovery.logs
        if self.monitor is not None:
            self.monitor.epoch_ends(self.position, logs, self.loop.counts())
        self.hooks.on_epoch_end(epoch, logs)
        self.logs, self.position = logs, Position(epoch + 1, 0, self.position.global_step)
        self._stops = self.agreement.any(self.model.stop_training)
        if recovery is not None:
            recovery.after(self.position, logs=logs, stops=self._stops)

    def _train(self) -> None:
        """The steps of an epoch, from `position` on."""
        model, hooks, recovery, monitor = self.model, self.hooks, self.recovery, self.monitor
        at_once = model.steps_per_execution
        epoch, step, global_step = astuple(self.position)
        self.examples = 0
        while (self.steps is None or step < self.steps) and not self._stops:
            hooks.on_train_batch_begin(step)
            wanted = at_once if self.steps is None else min(at_once, self.steps - step)
            votes = recovery.votes() if recovery else ()
            measures = monitor is not None and monitor.measures(self.position, wanted)
            execution = self.loop(wanted, votes, **({"measures": True} if measures else {}))
            if execution.steps == 0:
                break
            if monitor is not None:
                monitor.executed(epoch, global_step + execution.steps, execution)
            if model.optimizer is not None:
                model.optimizer.check_skipped_steps()
            step, global_step = step + execution.steps, global_step + execution.steps
            self.position, self.logs = Position(epoch, step, global_step), execution.logs
            heartbeat.beat(global_step)
            self.examples += execution.examples
            hooks.on_train_batch_end(step - 1, self.logs)
            if hooks.asks_every_execution:
                model.stop_training = self.agreement.any(model.stop_training)
            self._stops = model.stop_training
            if recovery is not None:
                recovery.after(self.position, execution.votes, logs=self.logs, stops=self._stops)
            if execution.steps < wanted:
                break
        self.logs = self.loop.settle() or self.logs
        if step == 0:
            raise DataError(
                "the training data yielded no batch. Check its source, and any filter or take."
            )

    def _validation(self, validate: Validate) -> Logs:
        """While it runs the job can be told to stop; it is then validated again from its beginning."""
        recovery = self.recovery
        if recovery is None:
            return validate(tuple, lambda votes: None)
        logs, stops = self.logs, self._stops

        def votes() -> Votes:
            return (*recovery.votes()[:2], False)  # a save can wait for the end of the epoch

        def between(votes: Votes) -> None:
            if any(votes):
                recovery.after(self.position, votes, logs=logs, stops=stops)

        return validate(votes, between)
