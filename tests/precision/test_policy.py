"""Policies by name, what is refused, and that every one trains with everything else."""

from __future__ import annotations

import keras
import pytest

from tests.precision.runs import SETTINGS, combinations, sixteen_bits
from tfdml import precision
from tfdml.errors import ConfigError
from tfdml.testing import run_in_process, run_workers

MIXED = ("mixed_float16", "mixed_bfloat16")


@pytest.fixture(autouse=True)
def float32_afterwards():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("name", precision.POLICY_NAMES)
def test_a_policy_is_that_of_keras(name):
    precision.set_policy(name)
    assert keras.config.dtype_policy().name == name


def test_unknown_names_list_the_known():
    with pytest.raises(ConfigError) as caught:
        precision.set_policy("mixed_fp16")
    assert str(caught.value) == (
        "the precision must be one of float32, mixed_bfloat16, mixed_float16, float64, bfloat16, float16, got "
        "'mixed_fp16'. Did you mean 'mixed_float16'?"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_weights_in_16_bits_are_refused_on_several_workers(name):
    first, second = run_workers(sixteen_bits, 2, (name,))
    assert first == second
    reason = "keeps weights in 16 bits, which several workers cannot train: TensorFlow cannot broadcast bfloat16"
    assert first["set_policy"].startswith(f"precision '{name}' {reason}")
    assert first["strategy"] == first["set_policy"]
    assert f"kernel` of dtype float16 {reason}" in first["trainer"]


def check(results: list[dict], labels: tuple[str, ...]) -> None:
    for policy in MIXED:
        for label in labels:
            tasks = [result[f"{policy}, {label}"] for result in results]
            for task in tasks:
                assert task["after"] < 0.2 * task["before"], f"{policy}, {label}"
                assert task["dtypes"] == ["float32"]
                assert task["scale"] == tasks[0]["scale"]
            # The first gradients of this task are too large for a scale of 2^15.
            scale = tasks[0]["scale"]
            assert 2.0**10 < scale < 2.0**15 if policy == "mixed_float16" else scale == 1.0
            hashes = {h for task in tasks for h in task["hashes"]}
            assert len(hashes) == 1, f"replicas differ under {policy}, {label}"


@pytest.mark.slow
def test_accumulation_clipping_and_compression_on_two_workers():
    labels = tuple(SETTINGS)
    arguments = ("multi_worker", None, MIXED, labels)
    check(run_workers(combinations, 2, arguments, timeout_seconds=200), labels)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "devices"), [("one_device", None), ("mirrored", 2)])
def test_all_of_them_together_in_one_process(name, devices):
    labels = ("plain", "all")
    arguments = (name, devices, MIXED, labels)
    check([run_in_process(combinations, arguments, timeout_seconds=200)], labels)
