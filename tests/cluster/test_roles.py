"""Numbered tasks get their types: chief, workers, parameter servers, evaluator, in this order."""

from __future__ import annotations

import pytest

from tests.cluster.surroundings import around
from tfdml.cluster.roles import assign
from tfdml.errors import ClusterError

FIVE = [f"h{i}:1" for i in range(5)]


def names(**environ: str) -> list[str]:
    return [assign(FIVE, own, around(environ)).task_name for own in range(len(FIVE))]


def test_all_are_workers_where_nothing_else_is_said() -> None:
    assert names() == [f"worker {i}" for i in range(5)]
    assert assign(FIVE, 0, around({})).is_chief


def test_with_an_evaluator() -> None:
    assert names(TFDML_CLUSTER_EVALUATOR="1") == [*(f"worker {i}" for i in range(4)), "evaluator 0"]


def test_with_parameter_servers() -> None:
    expected = ["chief 0", "worker 0", "ps 0", "ps 1", "evaluator 0"]
    assert names(TFDML_CLUSTER_PS="2", TFDML_CLUSTER_EVALUATOR="1") == expected
    cluster = assign(FIVE, 3, around({"TFDML_CLUSTER_PS": "2"}))
    assert cluster.jobs == {
        "chief": ("h0:1",),
        "worker": ("h1:1", "h2:1"),
        "ps": ("h3:1", "h4:1"),
    }


def test_with_a_chief_beside_the_workers() -> None:
    assert names(TFDML_CLUSTER_CHIEF="1") == ["chief 0", *(f"worker {i}" for i in range(4))]
    without = names(TFDML_CLUSTER_CHIEF="0", TFDML_CLUSTER_PS="2")
    assert without == ["worker 0", "worker 1", "worker 2", "ps 0", "ps 1"]


def test_a_single_task_is_local() -> None:
    assert assign(["a:1"], 0, around({})).is_local


@pytest.mark.parametrize(
    ("environ", "own", "message"),
    [
        (
            {"TFDML_CLUSTER_PS": "4"},
            0,
            "leave no worker: the job has 5 .* of which the first is the chief",
        ),
        ({"TFDML_CLUSTER_PS": "-1"}, 0, "TFDML_CLUSTER_PS must be a whole number, 0 or more"),
        ({"TFDML_CLUSTER_EVALUATOR": "2"}, 0, "must be a whole number, from 0 to 1, got '2'"),
        (
            {"TFDML_CLUSTER_CHIEF": "2"},
            0,
            "TFDML_CLUSTER_CHIEF must be a whole number, from 0 to 1",
        ),
        ({}, 5, "this is task 5, but the job has 5"),
    ],
)
def test_what_leaves_nobody_to_train(environ: dict[str, str], own: int, message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        assign(FIVE, own, around(environ))
