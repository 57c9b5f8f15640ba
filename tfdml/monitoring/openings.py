"""Which writers a task has, by what the user asked for; and what is added when training has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tfdml.monitoring.callback import Monitoring
from tfdml.monitoring.json_lines import JsonLines, path_of
from tfdml.monitoring.records import Record
from tfdml.monitoring.writer import MetricWriter, Writers


def openings(
    settings: Monitoring, *, task: str, chief: bool, port_offset: int
) -> dict[str, Callable[[], MetricWriter]]:
    """By name, how each writer is made, on the thread that will use it."""
    found: dict[str, Callable[[], MetricWriter]] = {}
    if settings.json_lines:
        found["JSON lines"] = lambda: JsonLines(path_of(settings.model_dir, task))
    if settings.tensorboard and chief:

        def tensorboard() -> MetricWriter:
            from tfdml.monitoring.tensorboard_files import TensorBoardFiles

            return TensorBoardFiles(settings.model_dir)

        found["TensorBoard"] = tensorboard
    if settings.metrics_port is not None:
        port = settings.metrics_port + port_offset

        def prometheus() -> MetricWriter:
            from tfdml.monitoring.prometheus_page import PrometheusPage

            return PrometheusPage(settings.metrics_address, port, task)

        found["Prometheus"] = prometheus
    if settings.mlflow is not None and chief:
        uri = settings.mlflow

        def mlflow() -> MetricWriter:
            from tfdml.monitoring.mlflow_runs import MlflowRun

            return MlflowRun(uri, settings.model_dir)

        found["MLflow"] = mlflow
    return found


def add(settings: Monitoring, records: Sequence[Record]) -> None:
    """Show what there is to show only after training: texts, and files; on the chief."""
    all_of_it = openings(settings, task="", chief=True, port_offset=0)
    of_the_run = {
        name: made for name, made in all_of_it.items() if name in ("TensorBoard", "MLflow")
    }
    writers = Writers(of_the_run)
    for record in records:
        writers.write(record)
    writers.close()
