"""Preflight of real models: what the Trainer would refuse, and what it would let pass."""

from __future__ import annotations

import re
from collections.abc import Iterator

import keras
import pytest
import tensorflow as tf

import tfdml
from tests.doctor.subjects import by_level, only
from tfdml.doctor import model as rules
from tfdml.testing import run_in_process

layers = keras.layers


@pytest.fixture
def strategy() -> Iterator[tf.distribute.Strategy]:
    made = tf.distribute.OneDeviceStrategy("CPU:0")
    with made.scope():
        yield made
    keras.config.set_dtype_policy("float32")


def compiled(*between, optimizer=None, output="float32", **options):
    """A model with these layers in the middle."""
    stack = [layers.Input((64,)), layers.Dense(64), *between, layers.Dense(10, dtype=output)]
    model = keras.Sequential(stack, name="sequential")
    if optimizer is None:
        optimizer = tfdml.optimizers.DistributedOptimizer(keras.optimizers.SGD(0.1))
    model.compile(optimizer=optimizer, loss="mse", **options)
    return model


def examine(model, strategy, batch=None, replicas=4):
    return tfdml.doctor.preflight(model, strategy, batch, num_replicas=replicas)


def warnings(model, strategy, batch=None, replicas=4):
    return by_level(examine(model, strategy, batch, replicas)).get("warning", [])


def test_a_model_with_nothing_to_say_about(strategy):
    findings = examine(compiled(), strategy, 64)
    assert {finding.level for finding in findings} == {"note"}
    size = findings[-1]
    assert size.figures["parameters"] == 64 * 64 + 64 + 64 * 10 + 10
    assert size.text.startswith("4,810 trainable parameters, 0.0 MiB of weights")


# -- BatchNormalization


def test_batch_normalization(strategy):
    finding = only(examine(compiled(layers.BatchNormalization(name="bn")), strategy, 64), "warning")
    assert finding.text.startswith(
        "1 BatchNormalization layer(s), sequential/bn first, normalise each replica's slice of 16 rows by itself"
    )
    assert "BatchNormalization(synchronized=True)" in finding.remedy


def test_batch_normalization_inside_of_another_model(strategy):
    inner = keras.Sequential([layers.Input((64,)), layers.BatchNormalization()], name="inner")
    assert "1 BatchNormalization" in warnings(compiled(inner), strategy)[0]


def test_batch_normalization_that_is_right(strategy):
    synchronized = layers.BatchNormalization(synchronized=True)
    assert warnings(compiled(synchronized), strategy) == []
    assert warnings(compiled(layers.BatchNormalization()), strategy, replicas=1) == []
    assert warnings(compiled(layers.LayerNormalization(), layers.Dropout(0.5)), strategy) == []


# -- the batch


@pytest.mark.parametrize(("batch", "replicas"), [(30, 4), (2, 4)])
def test_a_batch_that_cannot_be_cut(strategy, batch, replicas):
    finding = only(examine(compiled(), strategy, batch, replicas), "warning")
    assert finding.text.startswith(
        f"a global batch of {batch} is cut into uneven slices for 4 replicas"
    )
    assert re.match(r"Use (28 or 32|4)\.", finding.remedy)


def test_a_batch_that_can(strategy):
    assert warnings(compiled(), strategy, 32) == []


# -- the optimizer


def test_a_plain_optimizer(strategy):
    model = compiled(optimizer=keras.optimizers.Adam())
    assert "the optimizer is Adam, which clips" in warnings(model, strategy)[0]
    assert warnings(model, strategy, replicas=1) == []
    assert not isinstance(model.optimizer, tfdml.optimizers.DistributedOptimizer), "left as it was"


def test_float16_without_loss_scaling(strategy):
    keras.config.set_dtype_policy("mixed_float16")
    unscaled = tfdml.optimizers.DistributedOptimizer(keras.optimizers.SGD(), loss_scale=None)
    assert "the loss is not scaled" in warnings(compiled(optimizer=unscaled), strategy)[0]
    scaled = tfdml.optimizers.DistributedOptimizer(keras.optimizers.SGD())
    assert warnings(compiled(optimizer=scaled), strategy) == []


def test_outputs_in_float16(strategy):
    keras.config.set_dtype_policy("mixed_float16")
    found = warnings(compiled(output="mixed_float16"), strategy)
    assert found == ["the model's outputs are float16, so a loss beyond 65,504 is infinite"]


def test_compression_of_nothing(strategy):
    keras.config.set_dtype_policy("float64")
    optimizer = tfdml.optimizers.DistributedOptimizer(keras.optimizers.SGD(), compression="int8")
    found = warnings(compiled(optimizer=optimizer, output="float64"), strategy)
    assert found[0].startswith("nothing would be compressed")


def test_compression_on_gpus(strategy, monkeypatch):
    optimizer = tfdml.optimizers.DistributedOptimizer(keras.optimizers.SGD(), compression="int8")
    model = compiled(optimizer=optimizer)
    assert warnings(model, strategy) == []
    monkeypatch.setattr(rules.tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    assert "host memory; nobody has run that yet" in warnings(model, strategy)[0]


# -- dtypes


def test_mixed_dtypes(strategy):
    finding = next(f for f in examine(compiled(layers.Dense(4, dtype="float64")), strategy))
    assert finding.level == "note" and "weights are float32 and float64" in finding.text


def bfloat16_on_workers():
    strategy = tfdml.strategies.create("multi_worker")
    keras.config.set_dtype_policy("bfloat16")
    with strategy.scope():
        model = compiled(output="bfloat16")
    return examine(model, strategy)


@pytest.mark.slow
def test_bfloat16_variables_on_several_workers():
    finding = only(run_in_process(bfloat16_on_workers), "error")
    assert "cannot broadcast" in finding.text and "mixed_bfloat16" in finding.remedy


# -- what the Trainer refuses


def test_xla(strategy):
    model = compiled(jit_compile=True)
    finding = only(examine(model, strategy), "error")
    assert finding.text.startswith("`jit_compile=True` cannot work with 4 replicas")
    assert "error" not in by_level(examine(model, strategy, replicas=1))


def test_eager(strategy):
    assert "run_eagerly=True" in warnings(compiled(run_eagerly=True), strategy)[0]


def test_a_model_from_elsewhere():
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        model = compiled()
    other = tf.distribute.OneDeviceStrategy("CPU:0")
    assert "was built outside the strategy's scope" in only(examine(model, other), "error").text
    bare = keras.Sequential([layers.Dense(1)])
    assert "is not compiled" in only(examine(bare, other), "error").text
    assert "must be a keras.Model" in only(examine("model", other), "error").text


def test_a_model_that_is_not_built(strategy):
    model = keras.Sequential([layers.Dense(4), layers.BatchNormalization()])
    model.compile(optimizer=tfdml.optimizers.DistributedOptimizer(keras.optimizers.SGD()))
    assert by_level(examine(model, strategy)).keys() == {"note"}


# -- communication


def communications():
    """What is said about two strategies, as if there were GPUs. Each in a process of its own would be slow."""
    automatic = tf.distribute.MultiWorkerMirroredStrategy()
    implementation = tf.distribute.experimental.CommunicationImplementation
    options = tf.distribute.experimental.CommunicationOptions(implementation=implementation.NCCL)
    nccl = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    return [[list(rules._communication(s, gpus)) for gpus in (0, 2)] for s in (automatic, nccl)]


def test_automatic_communication_between_gpus():
    (auto_on_cpu, auto), (nccl_on_cpu, nccl) = run_in_process(communications)
    assert auto_on_cpu == nccl_on_cpu == nccl == []
    (finding,) = auto
    assert finding.level == "warning" and "communication is AUTO" in finding.text
