"""Everything that a job needs to go on bit for bit, as contents of a snapshot, and back.

The chief saves what is the same on every task: model, optimizer, callbacks, logs. Every task saves what it alone has:
the sums of its metrics, per-replica state, its random generators, where its own data stands.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdml.checkpoint import Contents, Restored, model_sections
from tfdml.checkpoint.callback_state import capture_callbacks, restore_callbacks
from tfdml.training import keras_random
from tfdml.training.agreement import Agreement
from tfdml.training.metrics import Logs

_log = logging.getLogger("tfdml")

_REPLICAS, _METRICS, _CALLBACKS, _JOB, _RANDOM, _DATA = (
    "replicas",
    "metrics",
    "callbacks",
    "job",
    "random",
    "data",
)


def capture(
    model: keras.Model,
    callbacks: Sequence[keras.callbacks.Callback],
    agreement: Agreement,
    *,
    logs: Logs,
    stops: bool,
    data: bytes | None,
) -> Contents:
    """What this task saves, after all callbacks ran.

    Args:
        logs: the last of this epoch; stops: whether training ends here; data: the state of this task's iterator.
    """
    contents = Contents()
    if agreement.task == 0:
        document, arrays = capture_callbacks(callbacks)
        contents.arrays |= model_sections(model)
        contents.arrays[_CALLBACKS] = arrays
        contents.documents[_CALLBACKS] = document
        numbers = {name: value for name, value in logs.items() if isinstance(value, float)}
        contents.documents[_JOB] = {"logs": numbers, "stops": stops}
    contents.arrays[_METRICS] = {
        f"{number}:{variable.path}": np.stack([local.numpy() for local in _locals(variable)])
        for number, variable in enumerate(model.metrics_variables)
    }
    if model.optimizer is not None:
        contents.arrays[_REPLICAS] = model.optimizer.replica_state.export_local()
    contents.documents[_RANDOM] = _random_state()
    if data is not None:
        contents.blobs[_DATA] = data
    return contents


def load(
    restored: Restored,
    model: keras.Model,
    callbacks: Sequence[keras.callbacks.Callback],
    strategy: tf.distribute.Strategy,
    agreement: Agreement,
) -> tuple[Logs, bool]:
    """Set all of it but the data; call when the model is built and callbacks have begun.

    Returns:
        The last logs of the epoch, and whether training had come to its end.

    Raises:
        DataError: the snapshot is of another model.
    """
    restored.load_model(model)
    num_replicas = strategy.num_replicas_in_sync
    first = agreement.task * (num_replicas // agreement.num_tasks)
    if model.optimizer is not None and len(model.optimizer.replica_state):
        model.optimizer.replica_state.load(
            restored.parts(_REPLICAS), first_replica=first, num_replicas=num_replicas
        )
    _load_metrics(restored, model, first, num_replicas)
    chief = restored.chief
    restore_callbacks(callbacks, chief.document(_CALLBACKS, []), chief.arrays(_CALLBACKS))
    own = restored.part(agreement.task if agreement.task < restored.num_tasks else 0)
    _set_random_state(own.document(_RANDOM))
    job = chief.document(_JOB, {})
    return dict(job.get("logs", {})), bool(job.get("stops"))


def data_of(restored: Restored, agreement: Agreement) -> bytes | None:
    """The state of this task's iterator; None where it had none, or where slices were cut for other tasks."""
    if restored.num_tasks != agreement.num_tasks:
        return None
    return restored.part(agreement.task).blob(_DATA)


# -- metrics


def _load_metrics(
    restored: Restored, model: keras.Model, first_replica: int, num_replicas: int
) -> None:
    parts = restored.parts(_METRICS)
    variables = model.metrics_variables
    names = list(parts[0])
    shapes = [tuple(variable.shape) for variable in variables]
    if [parts[0][name].shape[1:] for name in names] != shapes:
        _log.warning(
            "the metrics of the model are others than those that were saved: those of this epoch begin anew"
        )
        return
    for variable, name in zip(variables, names, strict=True):
        values = np.concatenate([part[name] for part in parts])
        if len(values) != num_replicas:
            values = _shared_out(values, variable.aggregation, num_replicas)
        for number, local in enumerate(_locals(variable)):
            local.assign(values[first_replica + number])


def _shared_out(values: np.ndarray, aggregation: str, num_replicas: int) -> np.ndarray:
    """For another number of replicas: what is added up goes to the first, what is not to all."""
    if aggregation != "sum":
        return np.repeat(values[:1], num_replicas, axis=0)
    shared = np.zeros((num_replicas, *values.shape[1:]), values.dtype)
    shared[0] = values.sum(axis=0)
    return shared


def _locals(variable: keras.Variable) -> Sequence[Any]:
    """The plain variables of this task's replicas."""
    return getattr(variable.value, "values", (variable.value,))


# -- random generators of this process


def _random_state() -> dict[str, Any]:
    version, numbers, gauss = random.getstate()
    kind, key, *rest = np.random.get_state()
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [kind, np.asarray(key).tolist(), *rest],
        "keras": keras_random.global_state().tolist(),
    }


def _set_random_state(state: dict[str, Any] | None) -> None:
    if state is None:
        return
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, key, *rest = state["numpy"]
    np.random.set_state((kind, np.array(key, np.uint32), *rest))
    keras_random.set_global_state(state["keras"])
