"""The loss scale: its rule, its path on several replicas, and what a training says when it gets nowhere."""

from __future__ import annotations

import pytest

from tests.precision.runs import EPOCHS, STEPS, overflow
from tfdml.errors import ConfigError, TrainingError
from tfdml.optimizers import DistributedOptimizer
from tfdml.precision import LossScale
from tfdml.testing import run_in_process, run_workers, start_workers

# Where the scale could grow above its ceiling, three in a row down to its floor and once more, after it has grown.
POISONED = (3, 4, 5, 9)
DYNAMIC = {
    "initial_scale": 2.0**12,
    "dynamic_growth_steps": 3,
    "min_scale": 2.0**10,
    "max_scale": 2.0**12,
}


def reference(poisoned: tuple[int, ...]) -> list[tuple[float, int, int]]:
    """Scale, updates made and steps skipped after every step: the rule once more, written for DYNAMIC."""
    scale, good, updates, skipped, path = 2.0**12, 0, 0, 0, []
    for step in range(EPOCHS * STEPS):
        if step % STEPS in poisoned:
            scale, good, skipped = max(scale / 2, 2.0**10), 0, skipped + 1
        else:
            good, updates = good + 1, updates + 1
            if good == 3:
                scale, good = min(scale * 2, 2.0**12), 0
        path.append((scale, updates, skipped))
    return path


def check_path(results: list[dict], steps_per_execution: int = 1) -> None:
    expected = reference(POISONED)[steps_per_execution - 1 :: steps_per_execution]
    for result in results:
        assert result["error"] is None
        assert result["path"] == expected
        assert result["hashes"] == results[0]["hashes"] and len(set(result["hashes"])) == 1
        assert result["history"]["loss_scale"] == [
            reference(POISONED)[e * STEPS - 1][0] for e in (1, 2)
        ]
        assert result["history"]["skipped_steps"] == [len(POISONED), 2 * len(POISONED)]
        assert result["loss"] < 1.0, "training has not recovered"
    visited = {scale for scale, _, _ in expected}
    assert steps_per_execution > 1 or visited == {2.0**10, 2.0**11, 2.0**12}


def test_an_overflow_on_one_of_two_workers_takes_both_along_the_same_path():
    check_path(run_workers(overflow, 2, ("multi_worker",), {"poisoned": POISONED, **DYNAMIC}))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "devices", "steps_per_execution"), [("one_device", None, 1), ("mirrored", 2, 4)]
)
def test_one_process_takes_the_same_path(name, devices, steps_per_execution):
    settings = {
        "poisoned": POISONED,
        "steps_per_execution": steps_per_execution,
        **DYNAMIC,
    }
    check_path([run_in_process(overflow, (name, devices), settings)], steps_per_execution)


@pytest.mark.slow
def test_the_chief_of_parameter_servers_counts_as_many_skipped_steps():
    jobs = {"chief": 1, "worker": 2, "ps": 1}
    settings = {"poisoned": POISONED, **DYNAMIC}
    with start_workers(
        overflow, jobs=jobs, args=("parameter_server",), kwargs=settings, timeout_seconds=200
    ) as tasks:
        result = tasks.wait_for(0)
    # Workers are not in step, so the order of steps, and with it the path, is another one each time.
    assert result["error"] is None
    assert result["history"]["skipped_steps"] == [len(POISONED), 2 * len(POISONED)]
    assert result["loss"] < 1.0


@pytest.mark.slow
def test_too_many_skipped_steps_end_all_workers_with_one_sentence():
    settings = {"poisoned": tuple(range(2, STEPS)), "max_skipped_steps": 4, **DYNAMIC}
    results = run_workers(overflow, 2, ("multi_worker",), settings)
    for result in results:
        assert result["error"].startswith(
            "TrainingError: 4 steps in a row had gradients that are not finite, and were skipped; the loss scale "
            "is now 1024. Try mixed_bfloat16"
        )
        assert [skipped for _, _, skipped in result["path"]] == [0, 0, 1, 2, 3]
    assert results[0]["error"] == results[1]["error"]


def test_the_rule_of_the_dataclass_is_the_reference():
    rule = LossScale("dynamic", 2.0**12, 3, 2.0**10, 2.0**12)
    scale, good, path = rule.first, 0, []
    for step in range(EPOCHS * STEPS):
        scale, good = rule.after(scale, good, finite=step % STEPS not in POISONED)
        path.append(scale)
    assert path == [scale for scale, _, _ in reference(POISONED)]
    assert LossScale(64.0).after(64.0, 0, finite=False) == (64.0, 0)


def test_defaults_are_those_that_the_documentation_names():
    rule = LossScale("dynamic")
    assert (rule.first, rule.growth_steps, rule.floor) == (2.0**15, 2000, 1.0)
    # From the ceiling down to the floor takes fewer skipped steps than end a training.
    assert rule.max_skipped_steps is not None
    assert rule.ceiling / 2.0**rule.max_skipped_steps < rule.floor


def test_skipped_steps_end_a_training_at_the_limit_and_never_without():
    LossScale("dynamic").check_skipped(49, 1.0)
    with pytest.raises(TrainingError, match="50 steps in a row"):
        LossScale("dynamic").check_skipped(50, 1.0)
    LossScale("dynamic", max_skipped_steps=None).check_skipped(10**6, 1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_scale": 2.0**16}, "must be positive and rise, got 65536.0, 32768.0 and 16777216.0"),
        ({"max_scale": 2.0}, "must be positive and rise, got 1.0, 32768.0 and 2.0"),
        ({"dynamic_growth_steps": 0}, "`dynamic_growth_steps` must be a whole number .* got 0"),
        ({"max_skipped_steps": 0}, "`max_skipped_steps` must be a whole number .* got 0"),
        ({"loss_scale": -1.0}, "`loss_scale` must be 'auto', .* got -1.0"),
    ],
)
def test_bad_settings(settings, message):
    import keras

    with pytest.raises(ConfigError, match=message):
        DistributedOptimizer(keras.optimizers.SGD(), **{"loss_scale": "dynamic", **settings})
