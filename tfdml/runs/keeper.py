"""Keeps run.json and the model card of a run up to date, on its chief."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfdml.cluster import ClusterSpec
from tfdml.config import Arguments, yaml_text
from tfdml.data.origin import Origin
from tfdml.errors import PREEMPTED_STATUS, ConfigError, DataError
from tfdml.runs import environment, model_card, record
from tfdml.runs.record import RunRecord, SliceMetrics
from tfdml.shared_files import appears_when_whole

if TYPE_CHECKING:  # It loads TensorFlow.
    import tensorflow as tf


class RecordKeeper:
    """Of one start of a recipe; every task has one, and only the chief's writes.

    A training writes its record when it begins and when it ends, however it does. A mode that does not train goes
    on with the record of the training, and adds to it.

    Attributes:
        record: as far as it is known.
    """

    def __init__(self, config: Any, arguments: Arguments):
        self._config = config
        self._arguments = arguments
        self._model_dir = arguments.model_dir
        self._began = 0.0
        self.record = self._new_record()

    def _new_record(self) -> RunRecord:
        """Of this start; where it goes on with an earlier one, that one's."""
        try:
            before = RunRecord.read(self._model_dir)
        except DataError:
            before = None
        if before is not None and not self._arguments.trains:
            return before
        values = self._config.model_dump(mode="json")
        new = RunRecord(
            name=Path(sys.argv[0]).stem.removeprefix("train_"),
            config=values,
            # Only of a training is it known when it was, and with what.
            status="running" if self._arguments.trains else "finished",
        )
        if before is not None and before.status != "finished" and before.config == values:
            new.started, new.starts = before.started, before.starts + 1
        return new

    def describe(
        self, model: Mapping[str, Any], data: Sequence[Origin], limits: Sequence[str]
    ) -> None:
        """What the model is, and the data of this start."""
        now: list[Mapping[str, Any]] = [each.to_json() for each in data]
        if self._arguments.trains or not self.record.data:
            self.record.data = now
        if self._arguments.evaluates:
            self.record.evaluated_on = [] if now == self.record.data else now
        self.record.model, self.record.limits = dict(model), list(limits)

    def report(
        self,
        results: Mapping[str, float],
        compared_with: Mapping[str, Mapping[str, float]],
        slices: Mapping[str, SliceMetrics],
    ) -> None:
        """More metrics of the test data."""
        self.record.result |= {name: float(value) for name, value in results.items()}
        self.record.compared_with |= dict(compared_with)
        self.record.slices |= dict(slices)
        self.record.evaluated = record.now()

    def begin(self, cluster: ClusterSpec, strategy: tf.distribute.Strategy) -> None:
        """Training begins: from here on there is a run.

        Raises:
            ConfigError: --model_dir cannot be written.
        """
        new = self.record
        self._began = time.monotonic()
        new.started = new.started or record.now()
        new.command = shlex.join(sys.argv)
        new.code, new.packages = environment.code(), environment.packages()
        new.hardware = environment.hardware(_devices())
        new.process = environment.this_process()
        new.workers = {
            "strategy": self._config.strategy.name,
            "workers": cluster.num_workers,
            "replicas": strategy.num_replicas_in_sync,
            "ps": len(cluster.jobs.get("ps", ())),
        }
        try:
            new.write(self._model_dir)
            with appears_when_whole(self._model_dir / "config.yaml") as file:
                file.write_text(yaml_text.dump(self._config.model_dump()), encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"--model_dir={self._model_dir} cannot be written: {error.strerror or error}. Give another one."
            ) from None

    def end(self, error: BaseException | None) -> None:
        """`main` has ended, by `error` or well."""
        if isinstance(error, SystemExit) and not error.code:
            error = None
        new = self.record
        if self._began:
            new.ended, new.seconds = record.now(), round(time.monotonic() - self._began, 1)
            new.status, new.message = _outcome(error)
        elif error is not None or not self._arguments.evaluates:
            return
        if error is not None:
            with suppress(OSError):  # A full disk, say, is what `error` tells of already.
                new.write(self._model_dir)
            return
        new.write(self._model_dir)
        with appears_when_whole(self._model_dir / model_card.FILE_NAME) as file:
            file.write_text(model_card.text(new), encoding="utf-8")


def _outcome(error: BaseException | None) -> tuple[record.Status, str]:
    if error is None:
        return "finished", ""
    if isinstance(error, KeyboardInterrupt) or (
        isinstance(error, SystemExit) and error.code == PREEMPTED_STATUS
    ):
        return "stopped", ""
    lines = str(error).strip().splitlines()
    return "failed", f"{type(error).__name__}: {lines[0] if lines else ''}".removesuffix(": ")


def _devices() -> list[str]:
    """The accelerators of this host by what TensorFlow calls them, else "CPU"."""
    import tensorflow as tf

    found = [
        str(tf.config.experimental.get_device_details(device).get("device_name", device.name))
        for device in tf.config.list_physical_devices()
        if device.device_type != "CPU"
    ]
    return found or ["CPU"]
