"""TensorBoard's files: what the chief knows of the whole job.

Runs `train` and `validation` below the directory have the same tags, so that both curves are in one chart; run
`.` has texts, HParams and the layout of the stacked chart. A record is one event, which is written as TensorBoard
reads it, a TFRecord: ten times cheaper than the ops of `tf.summary`, which counts where an epoch takes a tenth of
a second.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import yaml
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.text import summary_v2 as text_summary

from tfdml.monitoring import names
from tfdml.monitoring.records import (
    PARTS,
    Anatomy,
    Event,
    Histogram,
    Images,
    Record,
    Scalars,
    Settings,
    Started,
    Text,
)

WITHIN_EPOCH = "within_epoch/"
ANATOMY = "anatomy"
STACKED = "anatomy_stacked"
_SECONDS_BETWEEN_FLUSHES = 2.0


class TensorBoardFiles:
    """See `MetricWriter`."""

    name = "TensorBoard"

    def __init__(self, directory: Path):
        self._directory = directory
        self._writers: dict[str, Any] = {}
        self._flushed: dict[str, float] = {}
        self._events: list[str] = []
        self._writer(".").flush()  # tell now whether files can be written at all

    def write(self, record: Record) -> None:
        match record:
            case Scalars():
                self._write(record.split, _summary(_tags(record)), record.step)
            case Anatomy():
                self._anatomy(record)
            case Event():
                self._events.append(f"- step {record.step}: {record.message}")
                self._text("events", "\n".join(self._events), record.step)
            case Settings():
                self._settings(record)
            case Started():
                self._layout(record)
            case Text():
                self._text(record.name, record.markdown, record.step)
            case Images():
                self._write(".", _images(record), record.step)
            case Histogram():
                self._write("train", _histogram(record), record.step)

    def close(self) -> None:
        for run, writer in self._writers.items():
            self._flush(run)
            writer.close()

    def _writer(self, run: str) -> Any:
        if run not in self._writers:
            directory = self._directory if run == "." else self._directory / run
            directory.mkdir(parents=True, exist_ok=True)
            self._writers[run] = _new_file(directory)
            self._flushed[run] = 0.0
        return self._writers[run]

    def _write(self, run: str, summary: Any, step: int) -> None:
        event = tf.compat.v1.Event(wall_time=time.time(), step=step)
        # TensorBoard's messages are classes of their own, with the same bytes.
        event.summary.ParseFromString(summary.SerializeToString())
        self._writer(run).write(event.SerializeToString())
        if time.monotonic() - self._flushed[run] > _SECONDS_BETWEEN_FLUSHES:
            self._flush(run)

    def _flush(self, run: str) -> None:
        self._writers[run].flush()
        self._flushed[run] = time.monotonic()

    def _text(self, name: str, markdown: str, step: int) -> None:
        self._write(".", text_summary.text_pb(name, markdown), step)

    def _settings(self, record: Settings) -> None:
        # By the names of their sections, as `--set` takes them.
        text = yaml.safe_dump(dict(record.values), sort_keys=False)
        self._text("config", "```yaml\n" + text + "```", 0)
        allowed = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in record.values.items()
        }
        self._write(".", hparams.hparams_pb(allowed, start_time_secs=record.time), 0)

    def _layout(self, record: Started) -> None:
        """One chart for each task, in which the parts of a step lie on top of each other."""
        charts = [
            layout_pb2.Chart(
                title=f"a step of {task}: {', '.join(PARTS)} (ms, stacked)",
                multiline=layout_pb2.MultilineChartContent(
                    tag=[f"{STACKED}/{task}/{n} {part}" for n, part in enumerate(PARTS, 1)]
                ),
            )
            for task in record.tasks
        ]
        layout = layout_pb2.Layout(category=[layout_pb2.Category(title="anatomy", chart=charts)])
        self._write("train", custom_scalar.pb(layout), 0)

    def _anatomy(self, record: Anatomy) -> None:
        values: dict[str, float] = {}
        for task in record.tasks:
            total = 0.0
            for number, part in enumerate(PARTS, 1):
                seconds = task.parts[part]
                if seconds is None:
                    continue
                total += seconds
                values[f"{ANATOMY}/{task.task}/{part}"] = 1e3 * seconds
                values[f"{STACKED}/{task.task}/{number} {part}"] = 1e3 * total
            values[f"memory/{task.task}"] = task.facts["memory_bytes"]
        self._write("train", _summary(values), record.step)
        self._text(ANATOMY, table(record), record.step)


def table(record: Anatomy) -> str:
    """The anatomy in Markdown, milliseconds a step."""
    lines = [
        f"| ms a step | {' | '.join(PARTS)} | all |",
        "|---|" + "---:|" * (len(PARTS) + 1),
    ]
    for task in record.tasks:
        numbers = [task.parts[part] for part in PARTS]
        cells = ["-" if number is None else f"{1e3 * number:.3f}" for number in numbers]
        lines.append(f"| {task.task} | {' | '.join(cells)} | {1e3 * task.step_seconds:.3f} |")
    return "\n".join(lines)


def _tags(record: Scalars) -> dict[str, float]:
    if record.scope == "epoch":
        return {names.tag(name): value for name, value in record.values.items()}
    return {
        WITHIN_EPOCH + name if names.is_metric(name) else names.tag(name): value
        for name, value in record.values.items()
        if name != names.EXAMPLES
    }


def _summary(values: Mapping[str, float]) -> Any:
    value = tf.compat.v1.Summary.Value
    return tf.compat.v1.Summary(
        value=[value(tag=tag, simple_value=number) for tag, number in values.items()]
    )


def _new_file(directory: Path) -> tf.io.TFRecordWriter:
    """One whose name is nobody else's, and that TensorBoard takes for a file of events."""
    number = sum(1 for _ in directory.glob("events.out.tfevents.*"))
    name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{number}.v2"
    file = tf.io.TFRecordWriter(str(directory / name))
    version = tf.compat.v1.Event(wall_time=time.time(), file_version="brain.Event:2")
    file.write(version.SerializeToString())
    return file


def _images(record: Images) -> Any:
    """Width, height and PNG files, as TensorBoard keeps them."""
    images = tf.image.convert_image_dtype(record.images, tf.uint8, saturate=True)
    files = [tf.io.encode_png(image).numpy() for image in images]
    height, width = record.images.shape[1:3]
    summary = tf.compat.v1.Summary()
    summary.value.add(
        tag=record.name,
        metadata=_metadata(image_metadata),
        tensor=tf.make_tensor_proto([str(width).encode(), str(height).encode(), *files]),
    )
    return summary


def _histogram(record: Histogram) -> Any:
    """Rows of [left edge, right edge, count], as TensorBoard keeps them."""
    buckets = np.stack([record.edges[:-1], record.edges[1:], record.counts], axis=1)
    summary = tf.compat.v1.Summary()
    summary.value.add(
        tag=record.name,
        metadata=_metadata(histogram_metadata),
        tensor=tf.make_tensor_proto(buckets),
    )
    return summary


def _metadata(plugin: Any) -> Any:
    """TensorBoard's message, as TensorFlow's own of the same fields."""
    own = plugin.create_summary_metadata(display_name=None, description="")
    return tf.compat.v1.SummaryMetadata.FromString(own.SerializeToString())
