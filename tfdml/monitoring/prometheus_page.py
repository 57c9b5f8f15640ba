"""What Prometheus scrapes of a task: its own numbers, in base units, with totals as counters.

    tfdml_steps_total, tfdml_examples_total         trained since this process began
    tfdml_epoch                                     from 0 on
    tfdml_metric{split, name}                       losses and metrics; split: train or validation
    tfdml_examples_per_second, tfdml_tokens_per_second
    tfdml_learning_rate, tfdml_loss_scale, tfdml_skipped_steps_total
    tfdml_gradient_norm, tfdml_clipped_ratio        of measured steps
    tfdml_wire_bytes_per_step, tfdml_compression_ratio, tfdml_residual_norm
    tfdml_step_seconds, tfdml_step_part_seconds{part}   the anatomy of a step of this task
    tfdml_straggler{cause}                          1 while a task is one; of all tasks, on the page of the chief
    tfdml_events_total{kind}
    tfdml_last_step_timestamp_seconds               for an alert on training that stands still
    tfdml_task_info{host, pid}                      1

Every name has the label `task` ("worker 0"), whom it is about. What Prometheus's client says of a process
(process_resident_memory_bytes, process_cpu_seconds_total, ...) is there, too. What only the chief knows (metrics
at the end of an epoch, events) is on its page.
"""

from __future__ import annotations

from typing import Any

import prometheus_client as prometheus

from tfdml.monitoring import names
from tfdml.monitoring.records import Anatomy, Event, Record, Scalars, Started

_GAUGES = {
    names.EXAMPLES_PER_SECOND: ("examples_per_second", "Examples trained a second, by the job"),
    names.TOKENS_PER_SECOND: ("tokens_per_second", "Tokens trained a second, by the job"),
    names.LEARNING_RATE: ("learning_rate", "Learning rate of the last update"),
    names.LOSS_SCALE: ("loss_scale", "Factor on the loss"),
    names.GRADIENT_NORM: ("gradient_norm", "L2 norm of the summed gradients before clipping"),
    names.CLIP_RATE: ("clipped_ratio", "Part of the measured steps that were clipped"),
    names.WIRE_BYTES: ("wire_bytes_per_step", "Bytes that a replica receives in a step"),
    names.COMPRESSION_RATIO: ("compression_ratio", "How many times fewer bytes than dense"),
    names.RESIDUAL_NORM: ("residual_norm", "L2 norm of what compression has left over"),
}


class PrometheusPage:
    """Answers on `address:port`; see `MetricWriter`.

    Raises:
        OSError: the port is taken, or the address is none of this host.
    """

    name = "Prometheus"

    def __init__(self, address: str, port: int, task: str):
        self._task = task
        self._registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=self._registry)
        self._metrics: dict[str, Any] = {}
        self._steps_before = 0
        self._examples_before = 0.0
        self._skipped_before = 0.0
        self._server, self._thread = prometheus.start_http_server(
            port, addr=address, registry=self._registry
        )

    def write(self, record: Record) -> None:
        match record:
            case Started():
                self._steps_before = record.step
                labels = {"host": record.host, "pid": str(record.pid)}
                self._gauge("task_info", "This process", **labels).set(1)
                self._counter("steps_total", "Steps trained by this process").inc(0)
            case Scalars():
                self._scalars(record)
            case Anatomy():
                self._anatomy(record)
            case Event():
                self._counter("events_total", "Events, by kind", kind=record.kind).inc()
                if record.kind.startswith("straggler"):
                    # The chief alone is given events, so that its page speaks for all tasks.
                    labels = {"task": record.task, "cause": record.cause}
                    gauge = self._gauge("straggler", "Whether the others wait for it", **labels)
                    gauge.set(float(record.kind == "straggler"))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _scalars(self, record: Scalars) -> None:
        for name, value in record.values.items():
            if name in _GAUGES:
                short, text = _GAUGES[name]
                self._gauge(short, text).set(value)
            elif names.is_metric(name):
                gauge = self._gauge(
                    "metric", "Losses and metrics of the model", split=record.split, name=name
                )
                gauge.set(value)
        self._gauge("epoch", "Epoch, from 0 on").set(record.epoch)
        counter = self._counter("steps_total", "Steps trained by this process")
        counter.inc(max(record.step - self._steps_before, 0))
        self._steps_before = max(record.step, self._steps_before)
        self._add_to(
            "examples_total", "Examples trained", record, names.EXAMPLES, "_examples_before"
        )
        self._add_to(
            "skipped_steps_total",
            "Steps that were not finite",
            record,
            names.SKIPPED_STEPS,
            "_skipped_before",
        )
        gauge = self._gauge("last_step_timestamp_seconds", "When the last step was told of")
        gauge.set(record.time)

    def _add_to(self, metric: str, text: str, record: Scalars, name: str, before: str) -> None:
        if name in record.values:
            value = record.values[name]
            self._counter(metric, text).inc(max(value - getattr(self, before), 0.0))
            setattr(self, before, value)

    def _anatomy(self, record: Anatomy) -> None:
        own = next(task for task in record.tasks if task.task == self._task)
        self._gauge("step_seconds", "Time of one step of this task").set(own.step_seconds)
        for part, seconds in own.parts.items():
            if seconds is not None:
                gauge = self._gauge("step_part_seconds", "Where the time of a step goes", part=part)
                gauge.set(seconds)

    def _gauge(self, metric: str, text: str, **labels: str) -> Any:
        return self._metric(prometheus.Gauge, metric, text, labels)

    def _counter(self, metric: str, text: str, **labels: str) -> Any:
        return self._metric(prometheus.Counter, metric, text, labels)

    def _metric(self, kind: Any, name: str, text: str, labels: dict[str, str]) -> Any:
        labels = {"task": self._task, **labels}
        if name not in self._metrics:
            self._metrics[name] = kind(f"tfdml_{name}", text, list(labels), registry=self._registry)
        return self._metrics[name].labels(**labels)
