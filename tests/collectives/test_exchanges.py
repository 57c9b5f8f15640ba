"""Every compression, in every exchange it has, over several replicas: same bits, nothing lost, NaN seen by all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.collectives.exchanging import SHAPES, exchange
from tfdml.testing import run_in_process, run_workers

ONE_SHOT = ("fp16", "bf16", "int8", "int4", "topk", "signsgd", "qsgd", "terngrad", "randomk")
TWO_PHASE = ("fp16", "bf16", "int4", "signsgd", "qsgd", "terngrad")
# Every codec in one exchange, and every exchange with one codec; then all of the pairs.
QUICK: list[Any] = [
    "none",
    {"name": "identity", "exchange": "one_shot"},
    {"name": "identity", "exchange": "two_phase"},
    *({"name": name, "exchange": "one_shot", "start_step": 0} for name in ONE_SHOT),
    {"name": "int8", "exchange": "two_phase", "start_step": 0},
    {"name": "int8", "exchange": "two_phase", "rounding": "stochastic", "feedback": True},
    {"name": "randomk", "density": 0.05, "unbiased": False, "feedback": True, "start_step": 0},
    {"name": "int8", "start_step": 20},
    {"name": "int8", "exchange": "hierarchical"},
    {"name": "powersgd", "rank": 2, "start_step": 0},
    {"name": "dgc", "density": 0.05, "momentum": 0.0, "warmup_steps": 8},
    "dgc",
]
THOROUGH: list[Any] = [
    {"name": name, "exchange": "two_phase", "start_step": 0} for name in TWO_PHASE
]
SPECS = QUICK + THOROUGH
EXACT = ("none", "identity")
# What an exchange without residuals loses is lost: its sums are right on average only.
WITHOUT_RESIDUAL = ("fp16", "bf16", "qsgd", "terngrad", "randomk")
# Velocities of its momentum are not among the sums yet either.
MOMENTUM = "dgc"
CLUSTERS = {
    "mirrored_2": ("mirrored", 1, 2),
    "workers_2": ("multi_worker", 2, None),
    "workers_3": ("multi_worker", 3, None),
    "workers_4": ("multi_worker", 4, None),
    "workers_2x2": ("multi_worker", 2, 2),
}
FAST = "workers_2"
_results: dict[tuple[str, bool], list[list[dict[str, Any]]]] = {}


def name_of(spec: Any) -> str:
    return spec if isinstance(spec, str) else spec["name"]


def label(spec: Any) -> str:
    """Name, exchange, and what else is set: "int8-two_phase-rounding=stochastic"."""
    if isinstance(spec, str):
        return spec
    words = dict(spec)
    named = [words.pop("name"), *([words.pop("exchange")] if "exchange" in words else [])]
    return "-".join([*named, *(f"{key}={value}" for key, value in words.items() if value != 0)])


def results(cluster: str, quick: bool) -> list[list[dict[str, Any]]]:
    """Of every task the notes on the quick specs or on the others; run once."""
    if (cluster, quick) not in _results:
        strategy, tasks, devices = CLUSTERS[cluster]
        args = (strategy, devices, QUICK if quick else THOROUGH)
        if strategy == "mirrored":
            found = [run_in_process(exchange, args=args, timeout_seconds=400)]
        else:
            found = run_workers(exchange, tasks, args=args, timeout_seconds=550)
        _results[cluster, quick] = found
    return _results[cluster, quick]


def notes(cluster: str, spec: Any) -> list[dict[str, Any]]:
    """The notes of every task on `spec`."""
    quick = spec in QUICK
    place = (QUICK if quick else THOROUGH).index(spec)
    return [task[place] for task in results(cluster, quick)]


def wire_bytes(cluster: str) -> dict[str, int]:
    return {label(spec): notes(cluster, spec)[0]["wire_bytes"] for spec in QUICK}


def replicas(cluster: str) -> int:
    _, tasks, devices = CLUSTERS[cluster]
    return tasks * (devices or 1)


def each_spec(belongs: Callable[[Any], bool] = lambda spec: True) -> pytest.MarkDecorator:
    """A test on each cluster for each spec that belongs; all but the quick ones on the smallest are slow."""
    return pytest.mark.parametrize(
        ("cluster", "spec"),
        [
            pytest.param(
                cluster,
                spec,
                id=f"{cluster}-{label(spec)}",
                marks=() if cluster == FAST and spec in QUICK else pytest.mark.slow,
            )
            for cluster in CLUSTERS
            for spec in SPECS
            if belongs(spec)
        ],
    )


def each_cluster(belongs: Callable[[str], bool] = lambda cluster: True) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "cluster",
        [
            pytest.param(cluster, marks=() if cluster == FAST else pytest.mark.slow)
            for cluster in CLUSTERS
            if belongs(cluster)
        ],
    )


def is_exact(spec: Any) -> bool:
    return name_of(spec) in EXACT


def keeps_all_in_residuals(spec: Any) -> bool:
    if isinstance(spec, dict) and spec.get("feedback"):
        return True
    return name_of(spec) not in (*EXACT, *WITHOUT_RESIDUAL) and spec != MOMENTUM


@each_spec()
def test_replicas_get_the_same_bits(cluster: str, spec: Any) -> None:
    tasks = notes(cluster, spec)
    assert all(task["identical"] for task in tasks)
    assert len({task["outputs"] for task in tasks}) == 1


@each_spec()
def test_a_nan_on_one_replica_changes_no_state(cluster: str, spec: Any) -> None:
    assert all(task["untouched"] for task in notes(cluster, spec))


# Dense: the element is NaN, the rest is not.
@each_spec(lambda spec: spec != "none")
def test_a_nan_on_one_replica_is_seen_by_all(cluster: str, spec: Any) -> None:
    assert all(task["seen"] for task in notes(cluster, spec))


@each_spec(is_exact)
def test_what_loses_nothing_is_dense_bit_for_bit(cluster: str, spec: Any) -> None:
    assert all(task["exact"] for task in notes(cluster, spec))


@each_spec(lambda spec: not is_exact(spec))
def test_what_loses_something_is_not_dense(cluster: str, spec: Any) -> None:
    assert not any(task["exact"] for task in notes(cluster, spec))


@each_spec(keeps_all_in_residuals)
def test_outputs_and_residuals_add_up_to_the_inputs(cluster: str, spec: Any) -> None:
    tasks = notes(cluster, spec)
    for index in range(2):
        waiting = sum(
            value
            for task in tasks
            for key, value in task["residuals"].items()
            if key.startswith(f"v{index}/")
        )
        wanted = tasks[0]["wanted"][index]
        error = np.abs(tasks[0]["received"][index] + waiting - wanted).max()
        # 100 steps of values up to 40 a replica: sums of a few hundred, rounded at every step.
        assert error < 100 * np.abs(wanted).max() * 2**-23, error
        assert np.abs(waiting).max() > 0


@each_spec(lambda spec: spec != MOMENTUM)
def test_small_tensors_are_exact(cluster: str, spec: Any) -> None:
    first, *_ = notes(cluster, spec)
    assert (first["received"][2] == first["wanted"][2]).all()


@each_cluster()
def test_bytes_on_the_wire(cluster: str) -> None:
    wire, members = wire_bytes(cluster), replicas(cluster)
    elements = sum(int(np.prod(shape)) for shape in SHAPES)
    assert wire["none"] == 2 * (members - 1) * 4 * elements // members
    assert wire["int4-one_shot"] < wire["int8-one_shot"] < wire["fp16-one_shot"]
    assert wire["signsgd-one_shot"] < wire["int4-one_shot"]


@each_cluster(lambda cluster: replicas(cluster) > 2)
def test_of_more_than_two_replicas_two_phases_send_less(cluster: str) -> None:
    wire = wire_bytes(cluster)
    assert wire["int8-two_phase"] < wire["int8-one_shot"]
