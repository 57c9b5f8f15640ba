"""A run in MLflow: parameters, metrics, artefacts and the model. Needs the extra `mlflow`.

By default in files below the model's directory, which `mlflow ui --backend-store-uri MODEL_DIR/mlruns` shows. A
job that is started again goes on in its run.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import time
from pathlib import Path
from typing import Any

from tfdml.errors import ConfigError
from tfdml.monitoring.records import Artefact, Ended, Record, Scalars, Settings, Started, Text

# MLflow keeps its files in maintenance and wants to hear that one means it.
_ALLOW_FILES = "MLFLOW_ALLOW_FILE_STORE"
_NO_TELEMETRY = "MLFLOW_DISABLE_TELEMETRY"
_RUN_ID = "mlflow_run_id"
_MOST_PARAMETERS = 100  # in one request
_MOST_METRICS = 1000
_SECONDS_BETWEEN = 5.0  # requests with metrics: each takes a server, or many small files
_LONGEST_PARAMETER = 6000


def check_installed() -> None:
    """Raises ConfigError where MLflow is not there; does not import it, which takes seconds."""
    if importlib.util.find_spec("mlflow") is None:
        raise ConfigError(
            "MLflow is not installed. Install tfdml[mlflow], or leave `mlflow` out of the monitoring."
        )


class MlflowRun:
    """One run; see `MetricWriter`.

    Args:
        uri: of the tracking store; "local" is a directory `mlruns` in `model_dir`.
        model_dir: its name is the experiment's.
    """

    name = "MLflow"

    def __init__(self, uri: str, model_dir: Path):
        os.environ.setdefault(_ALLOW_FILES, "true")
        os.environ.setdefault(_NO_TELEMETRY, "true")  # what is trained is nobody's business
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self._metric, self._parameter = Metric, Param
        self._client: Any = MlflowClient(
            (model_dir / "mlruns").absolute().as_uri() if uri == "local" else uri
        )
        self._waiting: list[Any] = []
        self._sent = 0.0
        experiment = model_dir.absolute().name
        found = self._client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else self._client.create_experiment(experiment)
        remembered = model_dir / "monitoring" / _RUN_ID
        self._run = self._continued(remembered)
        if self._run is None:
            self._run = self._client.create_run(number, run_name=experiment).info.run_id
            remembered.parent.mkdir(parents=True, exist_ok=True)
            remembered.write_text(self._run)

    def _continued(self, remembered: Path) -> str | None:
        if not remembered.exists():
            return None
        run = remembered.read_text().strip()
        try:
            self._client.get_run(run)
        except Exception:  # another store, or it was deleted there
            return None
        return run

    def write(self, record: Record) -> None:
        match record:
            case Started():
                self._client.update_run(self._run, status="RUNNING")
            case Settings():
                known = self._client.get_run(self._run).data.params
                new = [
                    self._parameter(name, str(value)[:_LONGEST_PARAMETER])
                    for name, value in record.values.items()
                    if name not in known  # a parameter of a run cannot be changed
                ]
                for begin in range(0, len(new), _MOST_PARAMETERS):
                    self._client.log_batch(self._run, params=new[begin : begin + _MOST_PARAMETERS])
            case Scalars(scope="epoch"):
                prefix = "val_" if record.split == "validation" else ""
                milliseconds = int(record.time * 1e3)
                self._waiting += [
                    self._metric(prefix + name, float(value), milliseconds, record.step)
                    for name, value in record.values.items()
                    if math.isfinite(value)
                ]
                if time.monotonic() - self._sent > _SECONDS_BETWEEN:
                    self._send()
            case Text():
                self._client.log_text(self._run, record.markdown, f"{record.name}.md")
            case Artefact():
                self._client.log_artifact(self._run, record.path)
            case Ended():
                self._send()
                status = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
                self._client.set_terminated(self._run, status[record.status])

    def close(self) -> None:
        self._send()

    def _send(self) -> None:
        for begin in range(0, len(self._waiting), _MOST_METRICS):
            batch = self._waiting[begin : begin + _MOST_METRICS]
            self._client.log_batch(self._run, metrics=batch)
        self._waiting, self._sent = [], time.monotonic()
