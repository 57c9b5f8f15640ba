"""What would go wrong with a model, or differ from one device, before the first step is traced.

What the Trainer refuses is asked of the Trainer's own rules; here are the ones that it lets pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import keras
import tensorflow as tf

from tfdml.config import check_global_batch_size
from tfdml.doctor.finding import Finding
from tfdml.errors import ConfigError
from tfdml.optimizers import DistributedOptimizer
from tfdml.training import prepare
from tfdml.training.metrics import drifting_variables

NAME = "model"
_STATISTICS = ("moving_mean", "moving_variance")
_MIB = 2**20


def examine(
    model: keras.Model,
    strategy: tf.distribute.Strategy | None = None,
    global_batch_size: int | None = None,
    *,
    num_replicas: int | None = None,
) -> list[Finding]:
    """Look at a compiled model; runs nothing.

    Args:
        model: as the Trainer takes it.
        strategy: default the one in whose scope the model was made.
        global_batch_size: examples a step, over all replicas; None leaves that question out.
        num_replicas: of the job, where it is to have others than `strategy` has in this process.

    Returns:
        What there is to say; an `error` is what the Trainer would refuse or TensorFlow fail at.
    """
    try:
        strategy = prepare.check_strategy(model, strategy)
        prepare.check_model(model, strategy)
    except ConfigError as error:
        return [Finding(NAME, "error", str(error))]
    replicas = num_replicas or strategy.num_replicas_in_sync
    findings = [
        *_jit(model, replicas),
        *_optimizer(model, replicas),
        *_statistics(model, replicas, global_batch_size),
        *_dtypes(model, strategy),
        *_communication(strategy, len(tf.config.list_physical_devices("GPU"))),
        *batch_size(global_batch_size, replicas),
    ]
    return [*findings, _size(model)]


def batch_size(global_batch_size: int | None, num_replicas: int) -> Iterator[Finding]:
    """Whether a global batch can be cut into equal slices."""
    if global_batch_size is None:
        return
    try:
        check_global_batch_size(global_batch_size, num_replicas)
    except ConfigError as error:
        # The Trainer weighs uneven slices, so this is right, and slower than it need be.
        yield Finding(
            NAME,
            "warning",
            f"a global batch of {global_batch_size} is cut into uneven slices for {num_replicas} replicas: "
            "the Trainer counts every example alike, other loops do not, and recipes refuse it",
            str(error).partition(". ")[2],
        )


def _jit(model: keras.Model, num_replicas: int) -> Iterator[Finding]:
    try:
        # The Trainer's rule asks for the number of replicas and nothing else.
        prepare.check_jit(model, SimpleNamespace(num_replicas_in_sync=num_replicas))  # type: ignore[arg-type]
    except ConfigError as error:
        yield Finding(NAME, "error", str(error))
    if model.run_eagerly:
        text = "`run_eagerly=True` runs every operation by itself, several times slower"
        yield Finding(NAME, "warning", text, "Leave it to debugging.")


def _optimizer(model: keras.Model, num_replicas: int) -> Iterator[Finding]:
    optimizer = model.optimizer
    if optimizer is None:
        yield Finding(
            NAME, "error", "the model was compiled without an optimizer", "Compile it with one."
        )
        return
    half = any(layer.compute_dtype == "float16" for layer in _layers(model))
    if not isinstance(optimizer, DistributedOptimizer):
        yield Finding(
            NAME,
            "note" if num_replicas == 1 else "warning",
            f"the optimizer is {type(optimizer).__name__}, which clips, scales and accumulates before it sums; "
            "tfdml.Trainer wraps it, a loop of your own does not",
            "tfdml.optimizers.DistributedOptimizer(optimizer) is right in both.",
        )
        return
    if half and isinstance(optimizer.loss_scale, float):
        yield Finding(
            NAME,
            "warning",
            "layers compute in float16 and the loss is not scaled: small gradients become 0",
            'DistributedOptimizer(loss_scale="dynamic"), or the dtype policy mixed_bfloat16.',
        )
    if optimizer.compresses:
        yield from _compression(model, num_replicas)


def _compression(model: keras.Model, num_replicas: int) -> Iterator[Finding]:
    if num_replicas == 1:
        yield Finding(
            NAME, "note", "gradients are not compressed with one replica: nothing travels"
        )
    if tf.config.list_physical_devices("GPU"):
        yield Finding(
            NAME,
            "warning",
            "the codecs have CPU kernels only, so gradients pass through host memory; nobody has run that yet",
            "Compare with compression=None on your GPUs before you rely on it.",
        )
    float32 = [v for v in model.trainable_variables if v.dtype == "float32" and len(v.shape) > 1]
    if model.trainable_variables and not float32:
        yield Finding(
            NAME,
            "warning",
            "nothing would be compressed: no weight is float32 and of two dimensions or more",
            "Leave `compression` out.",
        )


def _statistics(
    model: keras.Model, num_replicas: int, global_batch_size: int | None
) -> Iterator[Finding]:
    if num_replicas == 1:
        return
    paths = [variable.path for variable in drifting_variables(model)]
    layers = sorted({p.rpartition("/")[0] for p in paths if p.rpartition("/")[2] in _STATISTICS})
    if not layers:
        return
    rows = f" of {global_batch_size // num_replicas} rows" if global_batch_size else ""
    yield Finding(
        NAME,
        "warning",
        f"{len(layers)} BatchNormalization layer(s), {layers[0]} first, normalise each replica's slice{rows} by "
        f"itself: the result depends on the {num_replicas} replicas",
        "keras.layers.BatchNormalization(synchronized=True) is as one device, for one collective a layer.",
        {"layers": len(layers)},
    )


def _dtypes(model: keras.Model, strategy: tf.distribute.Strategy) -> Iterator[Finding]:
    dtypes = sorted({variable.dtype for variable in model.trainable_variables})
    several_workers = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    if several_workers and "bfloat16" in {variable.dtype for variable in model.variables}:
        yield Finding(
            NAME,
            "error",
            "variables are bfloat16, which TensorFlow cannot broadcast to other workers when they are made",
            "Use the dtype policy mixed_bfloat16, which keeps variables in float32.",
        )
    elif len(dtypes) > 1:
        text = f"weights are {' and '.join(dtypes)}: the gradients of each travel apart, in more collectives"
        yield Finding(
            NAME, "note", text, "tfdml.Trainer does that; TensorFlow's all-reduce fails with them."
        )
    outputs = getattr(model, "outputs", None) or []
    if any(output.dtype == "float16" for output in outputs):
        yield Finding(
            NAME,
            "warning",
            "the model's outputs are float16, so a loss beyond 65,504 is infinite",
            'Give the last layer dtype="float32".',
        )


def _communication(strategy: tf.distribute.Strategy, num_gpus: int) -> Iterator[Finding]:
    if not num_gpus or not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return
    implementation = strategy.extended._communication_options.implementation
    if implementation != tf.distribute.experimental.CommunicationImplementation.NCCL:
        yield Finding(
            NAME,
            "warning",
            f"the strategy's communication is {implementation.value}, which moves gradients between GPUs over "
            "gRPC, through host memory",
            'tfdml.strategies.create("multi_worker", cluster) asks for NCCL.',
        )


def _size(model: keras.Model) -> Finding:
    weights = _bytes(model.variables)
    optimizer = model.optimizer
    slots = _bytes(optimizer.variables) if optimizer is not None and optimizer.built else 0
    with_slots = f", {slots / _MIB:.1f} MiB of optimizer state" if slots else ""
    parameters = sum(variable.shape.num_elements() for variable in model.trainable_variables)
    return Finding(
        NAME,
        "note",
        f"{parameters:,} trainable parameters, {weights / _MIB:.1f} MiB of weights{with_slots}: a snapshot "
        "takes that much disk, and the gradients of a step are as many",
        "",
        {"parameters": parameters, "weights_bytes": weights, "optimizer_bytes": slots},
    )


def _bytes(variables: Iterable[Any]) -> int:
    total = 0
    for variable in variables:
        elements = tf.TensorShape(variable.shape).num_elements()
        total += (elements or 0) * tf.as_dtype(variable.dtype).size
    return total


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The model's layers, and those of models within it."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
