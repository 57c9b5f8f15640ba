"""Vertex AI's worker pools, where no TF_CONFIG is there to be read first."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.cluster.surroundings import around, place, reason, refused, winner
from tfdml.cluster import vertex

# docs.cloud.google.com, "Distributed training", "CLUSTER_SPEC example".
CLUSTER_SPEC: dict[str, Any] = {
    "cluster": {
        "workerpool0": ["cmle-training-workerpool0-ab-0:2222"],
        "workerpool1": [
            "cmle-training-workerpool1-ab-0:2222",
            "cmle-training-workerpool1-ab-1:2222",
        ],
        "workerpool2": [
            "cmle-training-workerpool2-ab-0:2222",
            "cmle-training-workerpool2-ab-1:2222",
        ],
        "workerpool3": [
            "cmle-training-workerpool3-ab-0:2222",
            "cmle-training-workerpool3-ab-1:2222",
            "cmle-training-workerpool3-ab-2:2222",
        ],
    },
    "environment": "cloud",
    "task": {"type": "workerpool0", "index": 0, "trial": "TRIAL_ID"},
    "job": {},
}


def environment(pool: str, index: Any, **change: Any) -> dict[str, str]:
    config = copy.deepcopy(CLUSTER_SPEC)
    config["task"].update(type=pool, index=index)
    config.update(change)
    return {"CLUSTER_SPEC": json.dumps(config)}


@pytest.mark.parametrize(
    ("pool", "index", "name"),
    [
        ("workerpool0", 0, "chief 0"),
        ("workerpool1", 1, "worker 1"),
        ("workerpool2", 0, "ps 0"),
        ("workerpool3", 2, "evaluator 2"),
    ],
)
def test_worker_pools(pool: str, index: int, name: str) -> None:
    surroundings = around(environment(pool, index))
    cluster = place(vertex.find, surroundings).cluster
    assert cluster.task_name == name and cluster.num_workers == 3
    assert cluster.address == f"cmle-training-{pool}-ab-{index}:2222"
    assert winner(surroundings) == "vertex"


def test_tf_config_goes_first() -> None:
    config = {"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "environment": "cloud"}
    environ = environment("workerpool0", 0)
    environ["TF_CONFIG"] = json.dumps({**config, "task": {"type": "worker", "index": 0}})
    assert winner(around(environ)) == "tf_config"


def test_a_single_replica_is_local() -> None:
    environ = environment(
        "workerpool0", 0, cluster={"workerpool0": ["cmle-training-workerpool0-ab-0:2222"]}
    )
    assert place(vertex.find, around(environ)).cluster.is_local


def test_elsewhere_it_does_not_apply() -> None:
    assert reason(vertex.find, around({})) == "CLUSTER_SPEC is not set"
    assert "not that of Vertex AI" in reason(vertex.find, around({"CLUSTER_SPEC": "spec.yaml"}))


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"CLUSTER_SPEC": '{"cluster": {"workerpool0"'},
            "must be a JSON object with `cluster` and",
        ),
        (
            environment("workerpool4", 0),
            "has worker pool 'workerpool4'; the pools are workerpool0,",
        ),
        (environment("workerpool1", 2), "the index must be from 0 to 1"),
        (environment("workerpool1", "0"), "got '0'"),
        (environment("workerpool0", 0, cluster={"workerpool0": "a:1"}), 'must be a list of "host'),
        (
            environment("workerpool0", 0, cluster={"workerpool0": ["a:1", "b:1"]}),
            "one chief, got 2",
        ),
    ],
)
def test_broken_jobs(environ: dict[str, str], message: str) -> None:
    refused(vertex.find, around(environ), message)
