"""Saving a job while `fit` runs, and going on with it: what to do when, on every task at the same points.

Saves happen between two executions. Whether one is due every task knows from the position, or hears in the votes of
the execution before: only the chief looks at the clock, and a signal may come to any task. A save that fails costs
nothing but itself: training goes on, and the next one may succeed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import keras
import tensorflow as tf

from tfdml import determinism, run_identity
from tfdml.checkpoint import Outcome, Position, Restored
from tfdml.checkpoint.callback_state import go_on_writing
from tfdml.errors import DataError
from tfdml.training import job_state
from tfdml.training.agreement import Agreement
from tfdml.training.backup import BackupAndRestore
from tfdml.training.metrics import Logs
from tfdml.training.runner import Loop
from tfdml.training.stop_request import Preempted, StopRequest

_log = logging.getLogger("tfdml")


class Recovery:
    """Of one `fit`, on one task.

    Args:
        backup: the callback, which says where and how often.
    """

    def __init__(
        self,
        backup: BackupAndRestore,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        agreement: Agreement,
    ):
        self._snapshots = backup.snapshots
        self._backup = backup
        self._model = model
        self._strategy = strategy
        self._agreement = agreement
        self._callbacks: Sequence[keras.callbacks.Callback] = ()
        self._loop: Loop | None = None
        self._restored: Restored | None = None
        self._request = StopRequest()
        self._saved_at = time.monotonic()
        self._last = Position(0, 0, 0)
        self._failed_saves = 0
        self._saves_data = True
        self._data: bytes | None = None

    # -- going on

    def __enter__(self) -> Recovery:
        """From here on signals are noted; `find` comes first."""
        self._request.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._request.__exit__(*error)  # type: ignore[arg-type]
        self._snapshots.close()

    def find(self, start: Position) -> Position:
        """Where to begin: where the newest whole snapshot was taken, or `start` where nothing was saved.

        Raises:
            DataError: a task does not see the directory, or there are snapshots and none is whole.
        """
        agreement = self._agreement
        self._snapshots.start(
            task=agreement.task, num_tasks=agreement.num_tasks, of_each=agreement.of_each
        )
        self._restored = self._snapshots.restore()
        if self._restored is not None:
            self._data = job_state.data_of(self._restored, agreement)
        self._last = start if self._restored is None else self._restored.position
        if self._restored is not None:
            if agreement.task == 0:
                _log.info(
                    "going on after epoch %d, step %d", self._last.epoch, self._last.global_step
                )
                self._tell_other_settings(self._restored.facts.get("settings"))
            determinism.warn_if_other(self._restored.facts)
        return self._last

    @property
    def has_data_state(self) -> bool:
        """Whether the data is brought to its place by what the snapshot holds of its iterator."""
        return self._data is not None

    @property
    def found(self) -> bool:
        """Whether there is something to go on with."""
        return self._restored is not None

    def begin(
        self, loop: Loop, callbacks: Sequence[keras.callbacks.Callback], is_within: bool
    ) -> None:
        """Before `on_train_begin`: what to save from now on, and what callbacks must not overwrite.

        Args:
            callbacks: all whose state is saved, those of the chief included, in the same order everywhere.
            is_within: whether training begins within an epoch, of which plain data must find the middle.
        """
        self._loop, self._callbacks = loop, callbacks
        if self._restored is None:
            return
        go_on_writing(callbacks)
        if self._data is not None:
            loop.load_data_state(self._data)
            self._data = None
        elif is_within and not loop.begins_anywhere:
            _log.warning(
                "the position of this data set is not in the snapshot: reading past the %d steps of the epoch, which "
                "are those that were trained only if the data set has the same order every time. A tfdml.data.Source "
                "begins anywhere, and a tf.data.Dataset where `steps_per_epoch` or its cardinality counts the steps.",
                self._last.step_in_epoch,
            )

    def load(self) -> tuple[Logs, bool]:
        """Set all of the job to what was saved, once callbacks have begun; returns its logs, and whether it ended.

        Raises:
            DataError: the snapshot is of another model.
        """
        assert self._restored is not None
        loaded = job_state.load(
            self._restored, self._model, self._callbacks, self._strategy, self._agreement
        )
        self._failed_saves = int(self._restored.facts.get("failed_saves", 0))
        self._restored = None  # lets go of its files
        return loaded

    # -- saving

    def votes(self) -> tuple[bool, bool, bool]:
        """What this task wants: to end by SIGTERM, by Ctrl-C, to save because it is time."""
        frequency = self._backup.frequency
        is_time = (
            frequency.unit == "second"
            and self._agreement.task == 0
            and time.monotonic() - self._saved_at >= frequency.every
        )
        return self._request.terminate, self._request.interrupt, is_time

    def after(
        self,
        position: Position,
        votes: Sequence[bool] = (),
        *,
        logs: Logs,
        stops: bool = False,
    ) -> None:
        """Between two executions, and at the end of an epoch: save if somebody wants it.

        Args:
            position: where the next execution begins.
            votes: those of the last execution.
            logs, stops: as `job_state.capture` takes them.

        Raises:
            Preempted, KeyboardInterrupt: the job was told to end, and is saved.
        """
        terminates, interrupts, is_time = votes or (False, False, False)
        if terminates or interrupts:
            self._save_and_leave(position, logs, stops, by_sigterm=terminates)
        if self._snapshots.pending:
            self._note(self._snapshots.advance())
        if is_time or self._backup.frequency.is_due(position, self._last):
            self._note(self._begin(position, logs, stops))

    def end(self, position: Position, logs: Logs) -> None:
        """Training has come to its end, after the last callback of the last epoch."""
        self._note(self._snapshots.wait())
        if self._backup.delete_checkpoint:
            self._agreement.barrier()  # nobody reads any more
            if self._agreement.task == 0:
                self._snapshots.delete()
        elif self._last != position:
            self._note(self._begin(position, logs, stops=True))
            self._note(self._snapshots.wait())

    @property
    def logs(self) -> Logs:
        """For the logs of an epoch, and so for TensorBoard: how many saves have failed so far, if any."""
        return {"failed_saves": float(self._failed_saves)} if self._failed_saves else {}

    def _begin(self, position: Position, logs: Logs, stops: bool) -> Outcome | None:
        """Begin a save, after the one before has come to its end, whose outcome is returned."""
        self._last, self._saved_at = position, time.monotonic()
        if self._loop is not None:
            logs = self._loop.settle() or logs
        contents = job_state.capture(
            self._model,
            self._callbacks,
            self._agreement,
            logs=logs,
            stops=stops,
            data=self._data_state(),
        )
        facts = {
            **determinism.facts(),
            "failed_saves": self._failed_saves,
            "settings": run_identity.settings(),
        }
        return self._snapshots.begin(position, contents, facts)

    def _data_state(self) -> bytes | None:
        if not self._saves_data or self._loop is None:
            return None
        try:
            return self._loop.data_state()
        except DataError as error:
            self._saves_data = False
            _log.warning("%s A restart within an epoch reads past its beginning.", error)
            return None

    def _save_and_leave(
        self, position: Position, logs: Logs, stops: bool, *, by_sigterm: bool
    ) -> None:
        name = "SIGTERM" if by_sigterm else "Ctrl-C"
        self._note(self._snapshots.wait())
        outcome: Outcome | None = None
        if self._last != position or self._failed_saves:
            self._note(self._begin(position, logs, stops))
            outcome = self._snapshots.wait()
            self._note(outcome)
        if outcome is not None and outcome.error:
            raise DataError(f"told to stop by {name}, and {outcome.error}")
        if self._agreement.task == 0:
            _log.warning(
                "told to stop by %s: step %d is saved, and the same command goes on from there",
                name,
                position.global_step,
            )
        self._agreement.barrier()
        raise Preempted if by_sigterm else KeyboardInterrupt

    def _tell_other_settings(self, saved: object) -> None:
        """Settings that were changed since the snapshot was saved: some of them it brings back."""
        now = run_identity.settings()
        if not isinstance(saved, dict) or not saved or not now:
            return
        changed = [
            f"{name}: {now[name]!r} (was {saved[name]!r})"
            for name in now
            if name in saved and now[name] != saved[name]
        ]
        if changed:
            _log.warning(
                "going on with a job that had other settings: %s. To train anew, remove %s.",
                ", ".join(changed),
                self._snapshots.url,
            )

    def _note(self, outcome: Outcome | None) -> None:
        """Tell of a save that failed, once, on the chief; all tasks count it."""
        if outcome is None:
            return
        if outcome.error:
            self._failed_saves += 1
        if self._agreement.task == 0:
            for error in filter(None, (outcome.error, outcome.mirror_error)):
                _log.warning("%s Training goes on.", error)
