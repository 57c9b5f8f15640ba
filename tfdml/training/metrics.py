"""Read all metrics of a model with one collective.

Keras metrics keep a local sum on every replica; reading one adds them up, a collective for every variable.
Here all of them travel in one float64 vector (counts stay exact up to 2^53), together with the
moving statistics that replicas must agree on, and with what tasks have to tell each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfdml.collectives import raw
from tfdml.training.replica import ReplicaStep

Logs = dict[str, Any]


def drifting_variables(model: keras.Model) -> list[keras.Variable]:
    """State that every replica updates from its own slice, such as BatchNormalization's moving averages.

    Keras lets them drift apart. Synchronised BatchNormalization has the same values everywhere already.
    Integer state (seeds, counters) does not depend on the data.
    """
    synchronized = {
        id(variable)
        for layer in model._flatten_layers(include_self=False)
        if getattr(layer, "synchronized", False)
        for variable in layer.non_trainable_variables
    }
    return [
        variable
        for variable in model.non_trainable_variables
        if id(variable) not in synchronized and variable.dtype.startswith(("float", "bfloat"))
    ]


def local_state(model: keras.Model) -> list[keras.Variable]:
    """Everything that a step on an empty slice must leave as it was: metrics and drifting variables."""
    return [*model.metrics_variables, *drifting_variables(model)]


def read_on_replica(
    model: keras.Model, step: ReplicaStep, last_logs: Logs, votes: tf.Tensor
) -> tuple[Logs, tf.Tensor]:
    """Sum the metrics over replicas, average what drifts, and return the logs; call in replica context.

    Args:
        model: its metrics must have been built.
        step: tells the replica's position and the number of replicas.
        last_logs: what a user's own step returned last on this replica; averaged over replicas.
        votes: float64 [k], of this task.

    Returns:
        name -> tensor, the same on every replica; and the votes, positive where some task's was.
    """
    if step.num_replicas == 1:
        return _merge(model.get_metrics_result(), last_logs), votes
    metrics = model.metrics_variables
    drifting = drifting_variables(model)
    share = tf.constant(1.0 / step.num_replicas, tf.float64)
    parts = [_contribution(variable, step, share) for variable in metrics]
    parts += [tf.cast(variable.value, tf.float64) * share for variable in drifting]
    parts += [tf.cast(value, tf.float64) * share for value in last_logs.values()]
    parts.append(votes)
    flat = tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)
    total = raw.sum_over_replicas(flat)
    sizes = [part.shape.num_elements() for part in parts]
    pieces = [
        tf.reshape(piece, part.shape)
        for piece, part in zip(tf.split(total, sizes), parts, strict=True)
    ]
    end = len(metrics) + len(drifting)
    for variable, piece in zip(drifting, pieces[len(metrics) : end], strict=True):
        variable.assign(tf.cast(piece, variable.dtype))
    sums = [
        (variable, tf.cast(piece, variable.dtype))
        for variable, piece in zip(metrics, pieces[: len(metrics)], strict=True)
    ]
    with keras.StatelessScope(state_mapping=sums):
        results = model.get_metrics_result()
    logs = {
        name: tf.cast(piece, value.dtype)
        for (name, value), piece in zip(last_logs.items(), pieces[end:-1], strict=True)
    }
    return _merge(results, logs), pieces[-1]


def _contribution(variable: keras.Variable, step: ReplicaStep, share: tf.Tensor) -> tf.Tensor:
    value = tf.cast(variable.value, tf.float64)
    if variable.aggregation == "sum":
        return value
    if variable.aggregation == "only_first_replica":
        return value * tf.cast(tf.equal(step.replica_id, 0), tf.float64)
    return value * share


def _merge(results: Mapping[str, Any], step_logs: Logs) -> Logs:
    """Keras's rule: the metrics when the step returned them (or nothing), else what the step returned."""
    if not step_logs or set(step_logs) == set(results):
        return dict(results)
    return {**step_logs, **{k: v for k, v in results.items() if k in step_logs}}


def to_python(logs: Mapping[str, Any]) -> Logs:
    """Scalars as floats, other results as NumPy arrays."""
    result: Logs = {}
    for name, value in logs.items():
        array = np.asarray(value)
        result[name] = float(array.item()) if array.size == 1 else array
    return result
