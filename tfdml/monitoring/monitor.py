"""What the Trainer tells while it trains, made into records for the writers."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from tfdml import determinism, run_identity
from tfdml.checkpoint import Position
from tfdml.cluster import ClusterSpec
from tfdml.monitoring import desync, names, stacks
from tfdml.monitoring.anatomy import AnatomyReader
from tfdml.monitoring.callback import Monitoring
from tfdml.monitoring.link_speed import LinkSpeed
from tfdml.monitoring.measurement import Measurement
from tfdml.monitoring.openings import openings
from tfdml.monitoring.optimizer_values import OptimizerValues
from tfdml.monitoring.process_stats import ProcessStats, clock_of_this_host
from tfdml.monitoring.profiler import DIRECTORY, StepProfiler
from tfdml.monitoring.rates import Rates
from tfdml.monitoring.records import (
    Ended,
    Event,
    Histogram,
    Images,
    Scalars,
    Settings,
    Started,
    Status,
)
from tfdml.monitoring.spacing import Spacing
from tfdml.monitoring.stamps import StepProbe
from tfdml.monitoring.stragglers import Stragglers
from tfdml.monitoring.writer import Writers

_log = logging.getLogger("tfdml")

# Between two records of a task on its own, which are not measured executions.
_SECONDS_BETWEEN = 1.0


class Execution(Protocol):
    """What of `tfdml.training.loop.Execution` is looked at."""

    @property
    def steps(self) -> int: ...
    @property
    def examples(self) -> int: ...
    @property
    def logs(self) -> dict[str, Any]: ...
    @property
    def measured(self) -> Any: ...


class Monitor:
    """One `fit`, as one task sees it.

    Every task makes the same calls at the same points. `measures` and `executed` are asked around every execution, so
    they cost microseconds where nothing is measured.

    Args:
        settings: what the user asked for.
        model: built.
        cluster: None where the job is one process; task: the number of this one among those that train.
    """

    def __init__(
        self,
        settings: Monitoring,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        cluster: ClusterSpec | None,
        *,
        num_tasks: int,
        task: int,
    ):
        self._settings = settings
        self._model = model
        self._strategy = strategy
        # A chief counts first, then workers, as their replicas do.
        training = (
            [] if cluster is None else [c for c in cluster.tasks() if c.task_type in _TRAINING]
        )
        training = training[:num_tasks]
        self._tasks = tuple(c.task_name for c in training) or ("worker 0",)
        self._task = task
        self._is_chief = task == 0
        # The metrics port of a task counts on from the first one of its host.
        hosts = [c.address.rpartition(":")[0] for c in training]
        self.local_number = hosts[:task].count(hosts[task]) if hosts else 0
        self.probe = self._make_probe(num_tasks)
        on_host = all("CPU" in d.upper() for d in strategy.extended.worker_devices)
        self._optimizer = OptimizerValues(
            model,
            strategy,
            exchanges=strategy.num_replicas_in_sync > 1 and self.probe is not None,
        )
        self._anatomy = AnatomyReader(self._tasks, on_host=on_host)
        self._stragglers = Stragglers()
        self._spacing = Spacing(settings.every_steps)
        self._stats = ProcessStats()
        self._links = LinkSpeed([c.address for c in training], task) if num_tasks > 1 else None
        self._clock = float(clock_of_this_host())
        self._rates = Rates(settings.tokens_per_example)
        self._executions = 0
        self._measured = 0
        self._returned = time.time()
        self._last_step_record = 0.0
        self._position = Position(0, 0, 0)
        self._norms: list[float] = []
        self._writers = Writers(
            openings(
                settings,
                task=self._tasks[task],
                chief=self._is_chief,
                port_offset=self.local_number,
            )
        )
        self._profiler: StepProfiler | None = None
        if settings.profile_steps is not None and settings.profiles(task):
            directory = settings.model_dir / DIRECTORY / self._tasks[task].replace(" ", "-")
            self._profiler = StepProfiler(directory, *settings.profile_steps)

    def _make_probe(self, num_tasks: int) -> StepProbe | None:
        asynchronous = isinstance(self._strategy, tf.distribute.ParameterServerStrategy)
        if asynchronous or isinstance(self._strategy, tf.distribute.TPUStrategy):
            return None
        if determinism.is_on():
            return None  # TensorFlow refuses to tell the time then
        return StepProbe(
            self._model,
            self._strategy,
            num_tasks=num_tasks,
            steps_per_execution=self._model.steps_per_execution,
            takes_times=all("CPU" in d.upper() for d in self._strategy.extended.worker_devices),
            observes=not self._model.jit_compile,
            hashes=self._settings.on_desync != "off" and self._strategy.num_replicas_in_sync > 1,
        )

    # -- what the Trainer calls, in this order

    def begins(
        self,
        start: Position,
        epochs: int,
        steps_per_epoch: int | None,
        global_batch_size: int | None,
    ) -> None:
        """Training begins at `start`."""
        self._position = start
        self._writers.write(
            Started(
                task=self._tasks[self._task],
                tasks=self._tasks,
                step=start.global_step,
                epochs=epochs,
                steps_per_epoch=steps_per_epoch,
                num_replicas=self._strategy.num_replicas_in_sync,
                global_batch_size=global_batch_size,
                host=socket.gethostname(),
                pid=os.getpid(),
            )
        )
        if self._settings.json_lines:
            stacks.answer(stacks.stacks_path(self._settings.model_dir, self._tasks[self._task]))
        values = self._settings.settings
        values = run_identity.settings() if values is None else run_identity.flat(values)
        if self._is_chief and values:
            self._writers.write(Settings(values))

    def epoch_begins(self) -> None:
        self._returned = time.time()
        self._rates.epoch_begins()

    def measures(self, position: Position, wanted: int) -> bool:
        """Whether the next execution, of up to `wanted` steps, is to be measured; and get ready for it.

        The second one of all is, to have it compiled; its times are not used.
        """
        if self._profiler is not None:
            self._profiler.before(position.global_step, wanted)
        if self.probe is None:
            return False
        if not self._spacing.is_due(position.global_step, wanted) and self._executions != 1:
            return False
        facts = self._stats.read() | {"returned": self._returned, "clock": self._clock}
        rates = np.zeros(len(self._tasks))
        if self._links is not None:
            rates = self._links.read()
            facts["sent_bytes"] = float(self._links.sent_bytes)
        self.probe.tell(facts, rates)
        return True

    def executed(self, epoch: int, step: int, execution: Execution) -> None:
        """An execution has ended, and with it step number `step` of all; call at once, before callbacks.

        Raises:
            ReplicasDiffer: they do, and that is to be an error.
        """
        now = time.time()
        if self._profiler is not None:
            self._profiler.after(step)
        self._executions += 1
        self._position = position = Position(epoch, 0, step)
        self._rates.add(execution.steps, execution.examples)
        if execution.measured is not None:
            self._take(execution.measured, position, execution.logs)
        elif now - self._last_step_record >= _SECONDS_BETWEEN:
            self._write_step(position, execution.logs, {})
        self._returned = now

    def epoch_ends(
        self, position: Position, logs: Mapping[str, Any], counts: Mapping[str, np.ndarray]
    ) -> None:
        """Epoch `position.epoch` has ended, with validation; call before its callbacks.

        Args:
            counts: by name, int64 [k]: how often 0, 1, ... k - 1 came up in the training so far.
        """
        if not self._is_chief:
            return
        epoch, step = position.epoch, position.global_step
        numbers = _numbers(logs)
        train = {k: v for k, v in numbers.items() if not k.startswith("val_")}
        validation = {k.removeprefix("val_"): v for k, v in numbers.items() if k.startswith("val_")}
        if names.LEARNING_RATE not in train:  # the logs have what changes by itself
            train |= self._optimizer.now()
        train |= self._rates.of_epoch() | self._optimizer.wire_bytes(train)
        train[names.MEMORY_BYTES] = float(self._stats.memory_bytes())
        self._writers.write(Scalars(step, epoch, "train", "epoch", train))
        if validation:
            self._writers.write(Scalars(step, epoch, "validation", "epoch", validation))
        for name, number in counts.items():
            edges = np.arange(len(number) + 1) - 0.5
            self._writers.write(Histogram(step, name, edges, number.astype(np.float64)))
        if self._settings.histograms:
            for variable in self._model.trainable_variables:
                value = np.asarray(keras.ops.convert_to_numpy(variable.value), np.float64)
                self._writers.write(Histogram.of(step, f"weights/{variable.path}", value))
        if self._settings.images is not None:
            for name, images in self._settings.images(self._model).items():
                self._writers.write(Images(step, name, np.asarray(images)))

    def ends(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """The end of training, whatever it was (as `ExitStack.push` tells); all is written when this returns."""
        status: Status = "finished"
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            status = "stopped"
        elif error is not None:
            status = "failed"
        message = " ".join(str(error).split())[:500] if status == "failed" else ""
        if self._profiler is not None:
            self._profiler.close()
        self._writers.write(Ended(self._position.global_step, status, message))
        self._writers.close()

    # -- what is made of it

    def _take(
        self, found: tuple[Measurement, np.ndarray], position: Position, logs: Mapping[str, Any]
    ) -> None:
        measured, ratios = found
        self._measured += 1
        self._compare(measured, position)
        values = self._optimizer.of_gradients(measured) | self._optimizer.now()
        if self.probe is not None and ratios.any():  # else its first step only accumulated
            paths = [variable.path for variable in self.probe.trained]
            values |= {
                names.UPDATE_RATIO + path: float(ratio)
                for path, ratio in zip(paths, ratios, strict=True)
            }
        self._write_step(position, logs, values)
        if self._measured == 1:
            return
        self._spacing.learn(measured)
        anatomy = self._anatomy.read(measured, step=position.global_step, epoch=position.epoch)
        if self._is_chief or self._settings.metrics_port is not None:
            self._writers.write(anatomy)
        for event in self._stragglers.look(anatomy, measured.link_rates):
            if self._is_chief:
                _log.warning("step %d: %s", event.step, event.message)
                self._writers.write(event)

    def _compare(self, measured: Measurement, position: Position) -> None:
        if self._settings.on_desync == "off" or len(np.unique(measured.hashes, axis=0)) == 1:
            return
        assert self.probe is not None
        message, task, variable = self._difference(position)
        event = Event(position.global_step, "desync", task, variable, message)
        if self._is_chief:
            self._writers.write(event)
        if self._settings.on_desync == "error":
            raise desync.ReplicasDiffer(message)
        if self._is_chief:
            _log.warning("%s", message)

    def _difference(self, position: Position) -> tuple[str, str, str]:
        """All tasks have seen that hashes differ, and ask each other where."""
        assert self.probe is not None
        hashes = self.probe.hashes_of_each()
        found = desync.first_difference(hashes.tolist(), self.probe.variable_names)
        assert found is not None, "the hash of all variables differs, so that of one does"
        variable, replicas = found
        of_task = len(hashes) // len(self._tasks)
        tasks = list(dict.fromkeys(self._tasks[replica // of_task] for replica in replicas))
        where = " and ".join(tasks)
        if of_task > 1:
            where += f" (replica {', '.join(map(str, replicas))})"
        message = (
            f"replicas hold different weights at step {position.global_step}: '{variable}' on {where} is not that "
            "of the others, and they never agree again. Go on from a snapshot of before, and look for a callback "
            "that changes weights on one task, or for hardware that computes wrongly (monitoring: on_desync)."
        )
        return message, tasks[0], variable

    def _write_step(
        self, position: Position, logs: Mapping[str, Any], more: Mapping[str, float]
    ) -> None:
        self._last_step_record = time.time()
        values = _numbers(logs) | self._rates.since_last() | dict(more)
        values[names.MEMORY_BYTES] = float(self._stats.memory_bytes())
        self._writers.write(Scalars(position.global_step, position.epoch, "train", "step", values))


_TRAINING = ("chief", "worker")


def _numbers(logs: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in logs.items() if isinstance(value, float)}
