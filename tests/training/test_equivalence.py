"""Any number of replicas gives the weights of plain Keras on one device, and the same bits on every replica."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.cases import (
    ALL_CASES,
    Case,
    Replicas,
    in_float32,
    train_with_keras,
    train_with_tfdml,
)
from tfdml.testing import run_in_process, run_workers

# One case of every kind, for the fast run.
FEW = [
    Case("dense", "adamw", "plain"),
    Case("dense", "sgd", "clipped"),
    Case("conv_sync_bn", "adam", "accumulated"),
    Case("conv_sync_bn", "sgd", "loss_scaled"),
    Case("dense", "lars", "accumulated"),
    Case("conv_sync_bn", "lamb", "loss_scaled"),
]

_references: dict[Case, dict] = {}


def references(cases: list[Case]) -> list[dict]:
    missing = [case for case in cases if case not in _references]
    if missing:
        results = run_in_process(train_with_keras, (missing,), timeout_seconds=240)
        _references.update(zip(missing, results, strict=True))
    return [_references[case] for case in cases]


def train(cases: list[Case], workers: int, devices: int) -> list[list[dict]]:
    """The results of every task: [task][case]."""
    if workers == 1:
        replicas = Replicas("mirrored", devices) if devices > 1 else Replicas("one_device")
        return [run_in_process(train_with_tfdml, (cases, replicas), timeout_seconds=240)]
    replicas = Replicas("multi_worker", devices)
    return run_workers(train_with_tfdml, workers, (cases, replicas), timeout_seconds=280)


def check(cases: list[Case], workers: int, devices: int) -> None:
    tasks = train(cases, workers, devices)
    for index, (case, reference) in enumerate(zip(cases, references(cases), strict=True)):
        results = [task[index] for task in tasks]
        assert {r["replicas"] for r in results} == {workers * devices}
        hashes = {h for r in results for h in r["hashes"]}
        assert len(hashes) == 1, f"replicas differ in {case}"
        result = results[0]
        assert result["iterations"] == reference["iterations"]
        if case.dtype == "float64":
            check_float64(case, result, reference)
        else:
            check_float32(case, result, reference)


def check_float64(case: Case, result: dict, reference: dict) -> None:
    pairs = zip(result["weights"].values(), reference["weights"].values(), strict=True)
    for value, expected in pairs:
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=0, err_msg=str(case))
    for name, expected in reference["evaluation"].items():
        assert result["evaluation"][name] == pytest.approx(expected, rel=1e-6), case
    for name, expected in reference["history"].items():
        assert result["history"][name] == pytest.approx(expected, rel=1e-6), case


def check_float32(case: Case, result: dict, reference: dict) -> None:
    pairs = zip(result["weights"].values(), reference["weights"].values(), strict=True)
    for value, expected in pairs:
        error = np.linalg.norm(value.astype(np.float64) - expected)
        assert error <= 1e-6 * np.linalg.norm(expected.astype(np.float64)), case


@pytest.mark.parametrize(("workers", "devices"), [(1, 1), (1, 2), (2, 1)])
def test_replicas_give_the_weights_of_one_device(workers, devices):
    check(FEW, workers, devices)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "devices"), [(1, 2), (2, 1), (3, 1), (2, 2)])
def test_every_optimizer_and_variant_in_float64(workers, devices):
    check(ALL_CASES, workers, devices)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "devices"), [(1, 2), (2, 1), (3, 1), (2, 2)])
def test_every_optimizer_and_variant_in_float32(workers, devices):
    check(in_float32(ALL_CASES), workers, devices)


@pytest.mark.parametrize("rows", [12 + 1, 12 + 2])
def test_an_empty_slice_changes_nothing(rows):
    """A last batch of 1 or 2 examples on 4 replicas: some replicas have none; no NaN, same weights."""
    cases = [Case("dense", "sgd", num_rows=rows), Case("conv_sync_bn", "sgd", num_rows=rows)]
    check(cases, 1, 4)
