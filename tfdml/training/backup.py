"""The callback that makes a job restartable."""

from __future__ import annotations

import os

import keras

from tfdml.checkpoint import Checkpointer
from tfdml.errors import ConfigError


class BackupAndRestore(keras.callbacks.Callback):
    """Saves model and optimizer at the end of every epoch, and goes on from there after a restart.

    Takes the place of Keras's callback of the same name, which works on one device only. The Trainer reads the
    `checkpointer` it carries: it restores before the first step, saves after all callbacks of an epoch have run,
    and writes on the chief only. Not yet saved: the state of other callbacks, metrics, and per-replica state
    (residuals of compressed gradients start again at zero).

    Args:
        backup_dir: a directory that every task sees.
        save_freq: "epoch" is what there is.
        delete_checkpoint: remove the snapshots when training has ended.
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int = "epoch",
        delete_checkpoint: bool = True,
    ):
        super().__init__()
        if save_freq != "epoch":
            raise ConfigError(
                f"`save_freq` must be 'epoch', got {save_freq!r}. Steps within an epoch cannot be resumed yet."
            )
        self.checkpointer = Checkpointer(backup_dir)
        self.delete_checkpoint = delete_checkpoint
