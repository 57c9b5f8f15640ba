"""Callbacks, and the rules by which `tfdml.Trainer` runs them."""

from tfdml.monitoring.callback import Monitoring
from tfdml.training.backup import BackupAndRestore
from tfdml.training.callbacks import ChiefOnly

__all__ = ["BackupAndRestore", "ChiefOnly", "Monitoring"]
