"""Configuration of recipes: a strict schema, YAML files, `--set`, and a record of what was run.

Nothing here imports TensorFlow: a misspelt key answers in a fraction of a second.
"""

from tfdml.config.entry import run
from tfdml.config.flags import Arguments
from tfdml.config.load import load
from tfdml.config.schema import (
    AugmentConfig,
    BackupConfig,
    Config,
    ImageDataConfig,
    InteractionDataConfig,
    MonitoringConfig,
    OptimizerConfig,
    OptimizerName,
    ParameterServerConfig,
    ScheduleConfig,
    StrategyConfig,
    TrainConfig,
    check_global_batch_size,
)

__all__ = [
    "Arguments",
    "AugmentConfig",
    "BackupConfig",
    "Config",
    "ImageDataConfig",
    "InteractionDataConfig",
    "MonitoringConfig",
    "OptimizerConfig",
    "OptimizerName",
    "ParameterServerConfig",
    "ScheduleConfig",
    "StrategyConfig",
    "TrainConfig",
    "check_global_batch_size",
    "load",
    "run",
]
