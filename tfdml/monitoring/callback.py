"""The callback that shows what a job is doing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from tfdml.errors import ConfigError

ImageFunction = Callable[[keras.Model], Mapping[str, np.ndarray]]
OnDesync = Literal["error", "warn", "off"]


class Monitoring(keras.callbacks.Callback):
    """Writes what there is to see of a job: to TensorBoard, as JSON lines, for Prometheus, into MLflow.

    Takes the place of keras.callbacks.TensorBoard. It does nothing by itself: the Trainer finds it in the list.
    Pass it on every task, with the same arguments. The chief writes TensorBoard's files (MODEL_DIR/train and
    MODEL_DIR/validation) and MLflow's; every task writes MODEL_DIR/monitoring/TASK.jsonl (`json_lines.py` has the
    format, `tfdml top` and `tfdml report` read it) and answers Prometheus. A writer that fails is left out with
    one warning.

    Every `every_steps` steps one execution is measured from inside (`anatomy.py`): where each task's time goes,
    gradient norm, clip rate and update-to-weight ratios, and whether all replicas hold the same bits. A straggler
    is named with the likely cause. On parameter servers there is no step that tasks make together, so nothing of
    this; nor with `tfdml.determinism`, under which TensorFlow refuses to tell the time.

    Args:
        model_dir: where files go.
        every_steps: between two measurements; None is 100, or as many as take five seconds, where that is more.
        tensorboard, json_lines: whether these are written.
        metrics_port: where this task answers Prometheus: this port and the number of the task among those on its
            host; None does not.
        metrics_address: the address to answer on; the default is reached from this host alone.
        mlflow: into which tracking store: "local" (MODEL_DIR/mlruns) or a URI. Needs the extra `mlflow`.
        on_desync: what happens when replicas hold different bits: "error" (`ReplicasDiffer`), "warn", or "off",
            which does not look.
        histograms: of all weights, after every epoch.
        images: takes the model after every epoch, on the chief, and returns name -> images, uint8 or float in [0, 1]
            [k, height, width, channels]. Call the model as a function in it: predict needs all tasks.
        tokens_per_example: for tokens/s, where every example is so many.
        profile_steps: (first, last) for traces of TensorFlow's profiler, from when `first` steps have been made until
            `last` have, into MODEL_DIR/profile.
        profile_tasks: of which tasks, by number, 0 the chief.
        settings: the configuration, for HParams and as text; default what a recipe was started with.

    Raises:
        ConfigError: a value that is not allowed, or MLflow is not installed.
    """

    def __init__(
        self,
        model_dir: str | os.PathLike[str],
        *,
        every_steps: int | None = None,
        tensorboard: bool = True,
        json_lines: bool = True,
        metrics_port: int | None = None,
        metrics_address: str = "127.0.0.1",
        mlflow: str | None = None,
        on_desync: OnDesync = "error",
        histograms: bool = False,
        images: ImageFunction | None = None,
        tokens_per_example: int | None = None,
        profile_steps: Sequence[int] | None = None,
        profile_tasks: Sequence[int] = (0,),
        settings: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        if not os.fspath(model_dir):
            raise ConfigError("`model_dir` must be a directory, got ''. For example runs/mine.")
        if every_steps is not None:
            _check_count("every_steps", every_steps)
        if tokens_per_example is not None:
            _check_count("tokens_per_example", tokens_per_example)
        if metrics_port is not None and not 0 < metrics_port < 65536:
            raise ConfigError(
                f"`metrics_port` must be between 1 and 65535, got {metrics_port}. Prometheus users take 9100 and up."
            )
        if on_desync not in ("error", "warn", "off"):
            raise ConfigError(f"`on_desync` must be 'error', 'warn' or 'off', got {on_desync!r}.")
        if profile_steps is not None:
            check_profile_steps(profile_steps)
        if not profile_tasks or min(profile_tasks) < 0:
            raise ConfigError(
                f"`profile_tasks` must be numbers of tasks, 0 the chief, got {list(profile_tasks)}. "
                "For example [0, 1]."
            )
        if mlflow is not None:
            from tfdml.monitoring.mlflow_runs import check_installed

            check_installed()
        self.model_dir = Path(model_dir)
        self.every_steps = every_steps
        self.tensorboard = tensorboard
        self.json_lines = json_lines
        self.metrics_port = metrics_port
        self.metrics_address = metrics_address
        self.mlflow = mlflow
        self.on_desync: OnDesync = on_desync
        self.histograms = histograms
        self.images = images
        self.tokens_per_example = tokens_per_example
        self.profile_steps = None if profile_steps is None else tuple(profile_steps)
        self.profile_tasks = tuple(profile_tasks)
        self.settings = settings

    def profiles(self, task: int) -> bool:
        """Whether task number `task` writes traces."""
        return self.profile_steps is not None and task in self.profile_tasks


def check_profile_steps(steps: Sequence[int]) -> None:
    """Raises ConfigError where `steps` are not two numbers of steps, one after the other."""
    if len(steps) != 2 or not 0 <= steps[0] < steps[1]:
        raise ConfigError(
            f"`profile_steps` must be the steps made before and after, the first smaller, got {list(steps)}. "
            "For example [100, 110], or --profile_steps=100:110."
        )


def _check_count(name: str, value: int) -> None:
    if not isinstance(value, int) or value < 1:
        raise ConfigError(f"`{name}` must be a whole number of at least 1, got {value!r}.")
