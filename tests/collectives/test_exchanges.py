"""Every compression, in every exchange it has, over several replicas: same bits, nothing lost, NaN seen by all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.collectives.exchanging import SHAPES, exchange
from tfdml.testing import run_in_process, run_workers

ONE_SHOT = ("fp16", "bf16", "int8", "int4", "topk", "signsgd", "qsgd", "terngrad", "randomk")
TWO_PHASE = ("fp16", "bf16", "int8", "int4", "signsgd", "qsgd", "terngrad")
SPECS: list[Any] = [
    "none",
    {"name": "identity", "exchange": "one_shot"},
    {"name": "identity", "exchange": "two_phase"},
    *({"name": name, "exchange": "one_shot", "start_step": 0} for name in ONE_SHOT),
    *({"name": name, "exchange": "two_phase", "start_step": 0} for name in TWO_PHASE),
    {"name": "int8", "exchange": "two_phase", "rounding": "stochastic", "feedback": True},
    {"name": "int8", "start_step": 20},
    {"name": "int8", "exchange": "hierarchical"},
    {"name": "powersgd", "rank": 2, "start_step": 0},
    {"name": "dgc", "density": 0.05, "momentum": 0.0, "warmup_steps": 8},
    "dgc",
]
EXACT = ("none", "identity")
# What an exchange without residuals loses is lost: its sums are right on average only.
WITHOUT_RESIDUAL = ("fp16", "bf16", "qsgd", "terngrad")
# Velocities of DGC are not among the sums yet either.
WITH_MOMENTUM = ("dgc",)


def name_of(spec: Any) -> str:
    return spec if isinstance(spec, str) else spec["name"]


def label(spec: Any) -> str:
    return (
        spec
        if isinstance(spec, str)
        else "-".join(str(value) for value in spec.values() if value != 0)
    )


CLUSTERS = {
    "mirrored_2": ("mirrored", 1, 2),
    "workers_2": ("multi_worker", 2, None),
    "workers_3": ("multi_worker", 3, None),
    "workers_4": ("multi_worker", 4, None),
    "workers_2x2": ("multi_worker", 2, 2),
}
_results: dict[str, list[list[dict[str, Any]]]] = {}


def results(cluster: str) -> list[list[dict[str, Any]]]:
    """Of every task the notes on every spec; run once."""
    if cluster not in _results:
        strategy, tasks, devices = CLUSTERS[cluster]
        args = (strategy, devices, SPECS)
        if strategy == "mirrored":
            _results[cluster] = [run_in_process(exchange, args=args, timeout_seconds=400)]
        else:
            _results[cluster] = run_workers(exchange, tasks, args=args, timeout_seconds=550)
    return _results[cluster]


@pytest.fixture(
    params=[
        "workers_2",
        *(
            pytest.param(cluster, marks=pytest.mark.slow)
            for cluster in CLUSTERS
            if cluster != "workers_2"
        ),
    ],
    scope="module",
)
def cluster(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=range(len(SPECS)), ids=[label(spec) for spec in SPECS])
def notes(cluster: str, request: pytest.FixtureRequest) -> tuple[Any, list[dict[str, Any]]]:
    """A spec, and the notes of every task on it."""
    return SPECS[request.param], [task[request.param] for task in results(cluster)]


def test_replicas_get_the_same_bits(notes: tuple[Any, list[dict[str, Any]]]) -> None:
    _, tasks = notes
    assert all(task["identical"] for task in tasks)
    assert len({task["outputs"] for task in tasks}) == 1


def test_a_nan_on_one_replica_is_seen_by_all_and_changes_no_state(
    notes: tuple[Any, list[dict[str, Any]]],
) -> None:
    spec, tasks = notes
    assert all(task["untouched"] for task in tasks)
    if name_of(spec) not in EXACT[:1]:  # Dense: the element is NaN, the rest is not.
        assert all(task["seen"] for task in tasks)


def test_what_loses_nothing_is_dense_bit_for_bit(
    notes: tuple[Any, list[dict[str, Any]]],
) -> None:
    spec, tasks = notes
    if name_of(spec) in EXACT:
        assert all(task["exact"] for task in tasks)
    else:
        assert not any(task["exact"] for task in tasks)


def test_outputs_and_residuals_add_up_to_the_inputs(
    notes: tuple[Any, list[dict[str, Any]]],
) -> None:
    spec, tasks = notes
    name = name_of(spec)
    if name in EXACT or name in WITHOUT_RESIDUAL or spec == "dgc":
        return
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


def test_small_tensors_are_exact(notes: tuple[Any, list[dict[str, Any]]]) -> None:
    spec, tasks = notes
    if spec != "dgc":
        assert (tasks[0]["received"][2] == tasks[0]["wanted"][2]).all()


def test_bytes_on_the_wire(cluster: str) -> None:
    tasks = results(cluster)
    wire = {label(spec): tasks[0][number]["wire_bytes"] for number, spec in enumerate(SPECS)}
    _, workers, devices = CLUSTERS[cluster]
    replicas = workers * (devices or 1)
    elements = sum(int(np.prod(shape)) for shape in SHAPES)
    assert wire["none"] == 2 * (replicas - 1) * 4 * elements // replicas
    assert wire["int4-one_shot"] < wire["int8-one_shot"] < wire["fp16-one_shot"]
    if replicas > 2:
        assert wire["int8-two_phase"] < wire["int8-one_shot"]
    assert wire["signsgd-one_shot"] < wire["int4-one_shot"]
