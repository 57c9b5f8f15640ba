"""Every schedule of a configuration against its formula in NumPy, what is scaled, and which files load where."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfdml
from tfdml.config import OptimizerConfig, ScheduleConfig
from tfdml.errors import ConfigError
from tfdml.optimizers import learning_rate_plan

UPDATES, PEAK = 40, 0.5
WARMUPS = (0, 8)
SETTINGS = {
    "constant": {},
    "cosine": {"end": 0.1},
    "step": {"milestones": [0.4, 0.75], "milestone_factor": 0.2},
    "polynomial": {"end": 0.05, "power": 2.0},
    "inverse_square_root": {},
    "warmup_stable_decay": {"end": 0.1, "decay_fraction": 0.25},
}
CASES = [
    (name, warmup) for name in SETTINGS for warmup in WARMUPS if warmup or "inverse" not in name
]


def config(name: str, warmup: int, **options) -> OptimizerConfig:
    schedule = ScheduleConfig(name=name, warmup_steps=warmup, **SETTINGS[name])
    return OptimizerConfig(learning_rate=PEAK, schedule=schedule, **options)


def formula(name: str, warmup: int, t: int) -> float:
    """The learning rate of update t, from 0, in float64."""
    if t < warmup:
        return PEAK * t / warmup
    if name == "constant":
        return PEAK
    if name == "step":
        return PEAK * 0.2 ** sum(t >= part * UPDATES for part in (0.4, 0.75))
    if name == "inverse_square_root":
        return PEAK * math.sqrt(warmup / t) if t else PEAK
    done = min(1.0, (t - warmup) / (UPDATES - warmup))
    if name == "cosine":
        return PEAK * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))
    if name == "polynomial":
        return PEAK * (0.05 + 0.95 * (1 - done) ** 2)
    falling = min(1.0, max(0.0, (t - 0.75 * UPDATES) / (0.25 * UPDATES)))
    return PEAK * (1 - 0.9 * falling)


@pytest.mark.parametrize(("name", "warmup"), CASES)
def test_schedules_are_their_formulas(name, warmup):
    plan = learning_rate_plan(config(name, warmup), global_batch_size=8, total_steps=UPDATES)
    updates = range(UPDATES + 5)
    expected = [formula(name, warmup, t) for t in updates]
    np.testing.assert_allclose([plan(t) for t in updates], expected, rtol=2e-6, atol=1e-8)
    # The same in a graph, from the counter of an optimizer.
    optimizer = keras.optimizers.SGD(plan.build())
    optimizer.iterations.assign(13)
    assert float(optimizer.learning_rate) == pytest.approx(expected[13], rel=2e-6)


@pytest.mark.parametrize(("name", "warmup"), CASES)
def test_schedules_are_the_same_after_a_round_trip(name, warmup):
    plan = learning_rate_plan(config(name, warmup), global_batch_size=8, total_steps=UPDATES)
    before = keras.optimizers.SGD(plan.build())
    text = json.dumps(keras.saving.serialize_keras_object(before))
    after = keras.saving.deserialize_keras_object(json.loads(text))
    for optimizer in (before, after):
        optimizer.iterations.assign(33)
    assert float(after.learning_rate) == float(before.learning_rate)


@pytest.mark.parametrize(
    ("rule", "factor", "start"),
    [("none", 1.0, 0.0), ("linear", 16.0, PEAK), ("square_root", 4.0, PEAK)],
)
def test_the_peak_follows_from_the_examples_of_an_update(rule, factor, start):
    settings = config("cosine", 8, learning_rate_scaling=rule, base_batch_size=32)
    settings = settings.model_copy(update={"gradient_accumulation_steps": 2})
    plan = learning_rate_plan(settings, global_batch_size=256, total_steps=2 * UPDATES)
    assert plan.peak == PEAK * factor
    assert plan.num_updates == UPDATES
    # Goyal et al.: the warm-up begins where the small batch would.
    assert (plan(0), plan(8)) == (pytest.approx(start), pytest.approx(plan.peak))
    steps = np.diff([plan(t) for t in range(9)])
    np.testing.assert_allclose(steps, (plan.peak - start) / 8, rtol=1e-4)


def test_a_smaller_batch_has_a_smaller_peak():
    settings = config("constant", 8, learning_rate_scaling="linear", base_batch_size=64)
    plan = learning_rate_plan(settings, global_batch_size=16)
    assert plan.peak == PEAK / 4 and plan(0) == pytest.approx(PEAK / 4)


def test_the_plan_says_what_will_be():
    settings = config("cosine", 8, learning_rate_scaling="linear", base_batch_size=32)
    plan = learning_rate_plan(settings, global_batch_size=256, total_steps=UPDATES)
    assert str(plan).splitlines() == [
        "learning rate: peak 4 (0.5 x 8: linear from 32 to 256 examples an update)",
        "  warm-up from 0.5 in 8 updates",
        "  then cosine, to 0.4 at update 40",
    ]
    plain = learning_rate_plan(OptimizerConfig(), global_batch_size=64)
    assert str(plain) == "learning rate: peak 0.002\n  then constant"


@pytest.mark.parametrize(
    ("schedule", "steps", "message"),
    [
        ({"name": "cosine"}, None, "schedule cosine is a part of all updates, and their number"),
        ({"warmup_fraction": 0.1}, None, "schedule warmup_fraction is a part of all updates"),
        ({"name": "cosine", "warmup_steps": 40}, 40, "a warm-up of 40 updates leaves nothing"),
        ({"name": "step", "warmup_steps": 25}, 40, "goes past the first milestone, 0.5 of 40"),
    ],
)
def test_what_cannot_be_is_one_sentence(schedule, steps, message):
    settings = OptimizerConfig(schedule=ScheduleConfig(**schedule))
    with pytest.raises(ConfigError, match=message):
        learning_rate_plan(settings, global_batch_size=8, total_steps=steps)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"warmup_steps": 3, "warmup_fraction": 0.1}, "set one of them"),
        ({"name": "inverse_square_root"}, "falls from the end of the warm-up on, got none"),
        ({"milestones": [0.5, 0.2]}, r"milestones must rise, got \[0.5, 0.2\]"),
    ],
)
def test_settings_that_contradict_each_other(schedule, message):
    with pytest.raises(ValueError, match=message):
        ScheduleConfig(**schedule)


def test_scaling_needs_to_know_from_what():
    with pytest.raises(ValueError, match="base_batch_size is not set"):
        OptimizerConfig(learning_rate_scaling="linear")


PLAIN_PROCESS = """
import sys, keras
for name in sys.argv[1:]:
    try:
        loaded = keras.models.load_model(name)
        print("whole", float(loaded.optimizer.learning_rate))
    except TypeError:
        keras.models.load_model(name, compile=False)
        print("weights")
assert "tfdml" not in sys.modules
"""


def test_files_with_schedules_of_keras_load_where_tfdml_is_not(tmp_path):
    """Which they are is what `schedules.py` says; of the others the weights load."""
    names, expected = [], []
    for name, warmup in CASES:
        model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        plan = learning_rate_plan(config(name, warmup), global_batch_size=8, total_steps=UPDATES)
        model.compile(keras.optimizers.SGD(plan.build()), "mse")
        model.optimizer.iterations.assign(13)
        file = tmp_path / f"{name}-{warmup}.keras"
        model.save(file)
        names.append(file.name)
        ours = name in ("inverse_square_root", "warmup_stable_decay") or (
            name in ("step", "polynomial") and warmup > 0
        )
        expected.append("weights" if ours else f"whole {float(model.optimizer.learning_rate)}")
    done = subprocess.run(
        [sys.executable, "-c", PLAIN_PROCESS, *names],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "adagrad", "lars", "lamb"])
def test_every_name_gives_an_optimizer_that_leaves_the_excluded_undecayed(name):
    """Gradients are too small to matter, so what is decayed differs from what is not."""
    settings = OptimizerConfig(name=name, weight_decay=0.5, learning_rate=0.1)
    optimizer = tfdml.optimizers.from_config(settings, global_batch_size=8)
    names = ("kernel", "bias", "gamma", "beta", "scale")
    variables = [keras.Variable([1.0, -2.0], name=name) for name in names]
    optimizer.build(variables)
    tiny = keras.ops.convert_to_tensor([1e-30, 1e-30])
    optimizer.apply([tiny] * len(variables))
    kernel, *others = [variable.numpy() for variable in variables]
    assert all(np.array_equal(other, others[0]) for other in others)
    assert not np.array_equal(kernel, others[0])


def test_the_learning_rate_of_a_schedule_is_in_the_logs_and_in_tensorboard(tmp_path):
    settings = OptimizerConfig(
        name="sgd",
        learning_rate=0.01,
        loss_scale="dynamic",
        schedule=ScheduleConfig(name="polynomial", warmup_steps=2),
    )
    sizes = {"global_batch_size": 4, "total_steps": 6}
    strategy = tfdml.strategies.create("one_device")
    with strategy.scope():
        model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        model.compile(tfdml.optimizers.from_config(settings, **sizes), "mse")
    data = tf.data.Dataset.from_tensors((tf.ones([4, 2]), tf.ones([4, 1]))).repeat(3)
    board = keras.callbacks.TensorBoard(tmp_path, write_graph=False)
    history = tfdml.Trainer(model, strategy).fit(data, epochs=2, callbacks=[board], verbose=False)
    plan = learning_rate_plan(settings, **sizes)
    rates = [pytest.approx(plan(3)), pytest.approx(plan(6))]
    assert history.history["learning_rate"] == rates
    assert history.history["loss_scale"] == [2.0**15] * 2
    assert history.history["skipped_steps"] == [0.0] * 2
    (file,) = (tmp_path / "train").glob("events.*")
    drawn: dict[str, list[float]] = {}
    for event in tf.compat.v1.train.summary_iterator(str(file)):
        for value in event.summary.value:
            if value.tag.startswith("epoch_"):
                drawn.setdefault(value.tag, []).append(float(tf.make_ndarray(value.tensor)))
    assert drawn["epoch_learning_rate"] == rates
    assert drawn["epoch_loss_scale"] == [2.0**15] * 2
    assert drawn["epoch_skipped_steps"] == [0.0] * 2


def test_a_constant_learning_rate_is_not_in_the_logs_as_in_keras():
    optimizer = tfdml.optimizers.DistributedOptimizer(keras.optimizers.SGD(0.1))
    optimizer.build([keras.Variable([1.0])])
    assert optimizer.epoch_logs() == {}
