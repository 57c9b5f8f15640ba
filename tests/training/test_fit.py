"""Every kind of model and data that Keras's fit takes gives the same result on several replicas."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.scenarios import (
    ROWS,
    SCENARIOS,
    dict_inputs_and_outputs,
    run_with_keras,
    run_with_tfdml,
)
from tfdml.testing import run_in_process, run_workers

NAMES = tuple(scenario.__name__ for scenario in SCENARIOS)

# The kinds whose results would be wrong in ways of their own; all kinds run with the slow tests.
FEW = (
    "mean_with_sample_weight",
    "masked_sequences",
    "dict_inputs_and_outputs",
    "custom_train_step",
)

_few_and_slow = [
    pytest.param(name, marks=() if name in FEW else pytest.mark.slow) for name in NAMES
]


def chosen(request) -> tuple[str, ...]:
    """The scenarios that the tests selected for this run need."""
    wanted = {
        item.callspec.params.get("name")
        for item in request.session.items
        if item.module is request.module and hasattr(item, "callspec")
    }
    return tuple(name for name in NAMES if name in wanted)


@pytest.fixture(scope="module")
def reference(request):
    return run_in_process(run_with_keras, (chosen(request),), timeout_seconds=200)


@pytest.fixture(scope="module")
def three_replicas(request):
    arguments = (chosen(request), "mirrored", 3)
    return run_in_process(run_with_tfdml, arguments, timeout_seconds=250)


@pytest.fixture(scope="module")
def two_workers(request):
    arguments = (chosen(request), "multi_worker")
    return run_workers(run_with_tfdml, 2, arguments, timeout_seconds=280)


@pytest.mark.parametrize("name", _few_and_slow)
def test_three_replicas_are_like_plain_keras(name, reference, three_replicas):
    check_against(reference[name], three_replicas[name], name)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_two_workers_are_like_plain_keras(name, reference, two_workers):
    first, second = (task[name] for task in two_workers)
    check_against(reference[name], first, name)
    check_against(reference[name], second, name)
    assert first["hashes"] == second["hashes"]


def check_against(expected: dict, result: dict, name: str) -> None:
    assert len(set(result["hashes"])) == 1
    for value, wanted in zip(result["weights"], expected["weights"], strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-13)
    flatten = lambda value: value if isinstance(value, dict) else {"": value}
    for key, wanted in flatten(expected["predictions"]).items():
        np.testing.assert_allclose(
            flatten(result["predictions"])[key], wanted, rtol=1e-9, atol=1e-12
        )
    if name == "custom_train_step":
        assert result["history"] == {"constant": [2.0, 2.0], "size": [3.0, 3.0]}
        return
    assert set(result["evaluation"]) == set(expected["evaluation"])
    assert set(result["history"]) == set(expected["history"])
    for key in without_output_losses(expected["history"]):
        wanted = expected["evaluation"][key]
        assert result["evaluation"][key] == pytest.approx(wanted, rel=1e-6), (name, key)
        wanted = expected["history"][key]
        assert result["history"][key] == pytest.approx(wanted, rel=1e-6), (name, key)


def without_output_losses(logs: dict) -> list[str]:
    """Keras averages the loss of one output over batches, so a short last batch counts too much."""
    return [key for key in logs if not key.endswith("_loss")]


def test_the_loss_of_each_output_counts_every_example_once(three_replicas):
    result = three_replicas["dict_inputs_and_outputs"]
    _, y = next(iter(dict_inputs_and_outputs()[2].unbatch().batch(ROWS)))
    mean_square = np.mean((result["predictions"]["left"] - y["left"].numpy()) ** 2)
    assert result["evaluation"]["left_loss"] == pytest.approx(mean_square, rel=1e-9)
    logits = result["predictions"]["right"]
    log_sum = np.log(np.exp(logits).sum(axis=1))
    entropy = np.mean(log_sum - logits[np.arange(ROWS), y["right"].numpy()])
    assert result["evaluation"]["right_loss"] == pytest.approx(entropy, rel=1e-6)
