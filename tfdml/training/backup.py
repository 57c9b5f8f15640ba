"""The callback that makes a job restartable."""

from __future__ import annotations

import os

import keras

from tfdml.checkpoint import Snapshots
from tfdml.checkpoint.save_frequency import SaveFrequency
from tfdml.errors import ConfigError


class BackupAndRestore(keras.callbacks.Callback):
    """Saves all of a job while it trains, and goes on from there after a restart, as if nothing had happened.

    Takes the place of Keras's callback of that name, with its arguments. The callback does nothing by itself: the
    Trainer finds it and restores before the first step on every task, saves after all callbacks have run, and saves
    once more when the job is told to stop (SIGTERM, Ctrl-C). Saved are the model, its optimizer, loss scale, metrics,
    per-replica state (residuals, accumulators), random generators, the position in the data, and the state of
    callbacks. Its place in the list does not matter.

    Args:
        backup_dir: a directory that every task sees; or a URL (s3://, gs://, ...) of one.
        save_freq: "epoch", a number of steps, or words: "5 epochs", "500 steps", "10 minutes".
        double_checkpoint: for Keras's sake; there are always two, and more with `keep`.
        delete_checkpoint: remove the snapshots when training has ended. Otherwise the end is saved, too.
        keep: how many of the newest snapshots to keep.
        keep_every: keep every Nth for ever; 0 for none.
        local_directory: where snapshots are written first when `backup_dir` is a URL.

    Raises:
        ConfigError: a value that is not allowed.
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
        *,
        keep: int = 2,
        keep_every: int = 0,
        local_directory: str | os.PathLike[str] | None = None,
    ):
        super().__init__()
        if not os.fspath(backup_dir):
            raise ConfigError(
                "`backup_dir` must be a directory, got ''. For example runs/mine/backup."
            )
        self.frequency = SaveFrequency.parse(save_freq)
        self.snapshots = Snapshots(
            backup_dir, keep=keep, keep_every=keep_every, local_directory=local_directory
        )
        self.delete_checkpoint = delete_checkpoint
