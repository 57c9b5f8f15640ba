"""A TFJob's TF_CONFIG: its `master`, and its sparse cluster completed from the pod's variables."""

from __future__ import annotations

import json

import pytest

from tests.cluster.surroundings import around, place, reason, refused, winner
from tfdml.cluster import kubeflow

IN_A_POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
# kubeflow/training-operator, pkg/controller.v1/tensorflow: the comment of genTFConfigJSONStr, and the
# addresses that genClusterSpec writes (tensorflow_test.go).
TFJOB = {
    "cluster": {
        "ps": ["test-tfjob-ps-0.default.svc:2222", "test-tfjob-ps-1.default.svc:2222"],
        "worker": ["test-tfjob-worker-0.default.svc:2222", "test-tfjob-worker-1.default.svc:2222"],
        "master": ["test-tfjob-master-0.default.svc:2222"],
    },
    "task": {"type": "worker", "index": 1},
    "environment": "cloud",
}
# tensorflow_test.go: what worker 0 and ps 0 find with enableDynamicWorker.
SPARSE_WORKER = {
    "sparseCluster": {
        "worker": {"0": "test-tfjob-worker-0.default.svc:2222"},
        "ps": ["test-tfjob-ps-0.default.svc:2222", "test-tfjob-ps-1.default.svc:2222"],
    },
    "task": {"type": "worker", "index": 0},
}
SPARSE_PS = {
    "sparseCluster": {"worker": {}, "ps": ["test-tfjob-ps-1.default.svc:2222"]},
    "task": {"type": "ps", "index": 1},
}
SPARSE_CHIEF = {"sparseCluster": {"worker": {}, "ps": []}, "task": {"type": "chief", "index": 0}}
NUMBERS = {"TFDML_CLUSTER_WORKERS": "3", "TFDML_CLUSTER_PS": "2"}


def environment(config: object, **more: str) -> dict[str, str]:
    return {**IN_A_POD, "TF_CONFIG": json.dumps(config), **more}


def test_master_is_the_chief() -> None:
    surroundings = around(environment(TFJOB))
    cluster = place(kubeflow.find, surroundings).cluster
    assert cluster.jobs["chief"] == ("test-tfjob-master-0.default.svc:2222",)
    assert cluster.task_name == "worker 1"
    assert winner(surroundings) == "kubeflow"
    master = {**TFJOB, "task": {"type": "master", "index": 0}}
    assert place(kubeflow.find, around(environment(master))).cluster.is_chief


def test_the_evaluator_is_not_listed() -> None:
    # genClusterSpec leaves it out.
    evaluator = {**TFJOB, "task": {"type": "evaluator", "index": 0}}
    cluster = place(kubeflow.find, around(environment(evaluator))).cluster
    assert cluster.task_name == "evaluator 0" and "evaluator" not in cluster.jobs


def test_sparse_clusters_are_completed_to_the_same_cluster_everywhere() -> None:
    clusters = []
    for config, hostname in [
        (SPARSE_WORKER, "test-tfjob-worker-0"),
        (SPARSE_PS, "test-tfjob-ps-1"),
    ]:
        surroundings = around(environment(config, **NUMBERS), hostname=hostname)
        cluster = place(kubeflow.find, surroundings).cluster
        assert cluster.address == f"{hostname}.default.svc:2222"
        clusters.append(cluster.with_task("worker", 0))
        assert winner(surroundings) == "kubeflow"
    assert clusters[0] == clusters[1]
    assert clusters[0].jobs["worker"][2] == "test-tfjob-worker-2.default.svc:2222"
    assert clusters[0].jobs["chief"] == ("test-tfjob-chief-0.default.svc:2222",)


def test_a_sparse_chief_knows_its_own_pod_only() -> None:
    surroundings = around(environment(SPARSE_CHIEF, **NUMBERS), hostname="test-tfjob-chief-0")
    cluster = place(kubeflow.find, surroundings).cluster
    assert cluster.is_chief
    assert cluster.jobs["ps"] == ("test-tfjob-ps-0:2222", "test-tfjob-ps-1:2222")


def test_other_tf_configs_are_not_for_it() -> None:
    assert reason(kubeflow.find, around({})) == "TF_CONFIG is not set"
    by_hand = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    assert "neither `sparseCluster` nor" in reason(kubeflow.find, around(environment(by_hand)))
    assert winner(around(environment(by_hand))) == "tf_config"
    elsewhere = {"TF_CONFIG": json.dumps(TFJOB)}
    assert reason(kubeflow.find, around(elsewhere)) == "KUBERNETES_SERVICE_HOST is not set"
    assert winner(around(elsewhere)) == "tf_config"


@pytest.mark.parametrize(
    ("config", "environ", "message"),
    [
        (SPARSE_WORKER, {}, "does not say how many tasks .* `enableDynamicWorker: false`"),
        ({"sparseCluster": {}, "task": {}}, NUMBERS, "must have `task` with `type` and `index`"),
        ({"sparseCluster": [], "task": {"type": "ps", "index": 0}}, NUMBERS, "must have `task`"),
        (
            {**SPARSE_WORKER, "task": {"type": "worker", "index": 7}},
            NUMBERS,
            "the name of worker 7 must be like JOB-worker-7, as TFJob writes it, got 'p'",
        ),
        (SPARSE_WORKER, {"TFDML_CLUSTER_WORKERS": "no"}, "must be a whole number, 1 or more"),
        (
            {**TFJOB, "task": {"type": "worker", "index": 2}},
            {},
            "the index must be from 0 to 1",
        ),
    ],
)
def test_broken_tfjobs(config: object, environ: dict[str, str], message: str) -> None:
    refused(kubeflow.find, around(environment(config, **environ), hostname="p"), message)
