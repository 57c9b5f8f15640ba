"""Pods find each other by the names that Kubernetes gives them and the numbers of their manifest."""

from __future__ import annotations

import pytest

from tests.cluster.surroundings import around, place, reason, refused, winner
from tfdml.cluster import kubernetes

IN_A_POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def pod(workers: int, service: str, **more: str) -> dict[str, str]:
    return {
        **IN_A_POD,
        "TFDML_CLUSTER_WORKERS": str(workers),
        "TFDML_CLUSTER_SERVICE": service,
        **more,
    }


def test_a_stateful_set() -> None:
    # kubernetes.io, "StatefulSet Basics": the pods web-0 and web-1 behind the headless Service nginx.
    surroundings = around(pod(2, "nginx"), hostname="web-1")
    found = place(kubernetes.find, surroundings)
    assert found.cluster.jobs == {"worker": ("web-0.nginx:2222", "web-1.nginx:2222")}
    assert found.cluster.task_name == "worker 1"
    assert (found.local_index, found.tasks_on_host, found.gpus) == (0, 1, None)
    assert winner(surroundings) == "kubernetes"


def test_an_indexed_job() -> None:
    # kubernetes.io, "Job with Pod-to-Pod Communication": example-job with 3 completions, headless-svc.
    environ = pod(3, "headless-svc", JOB_COMPLETION_INDEX="2", TFDML_CLUSTER_PORT="4444")
    found = place(kubernetes.find, around(environ, hostname="example-job-2"))
    assert found.cluster.jobs["worker"] == tuple(
        f"example-job-{i}.headless-svc:4444" for i in range(3)
    )
    assert found.cluster.task_index == 2


def test_a_job_set() -> None:
    # kubernetes-sigs/jobset, site/static/examples/pytorch/cnn-mnist/mnist.yaml: pytorch-workers-0-0.pytorch.
    environ = pod(4, "pytorch", JOB_COMPLETION_INDEX="3")
    found = place(kubernetes.find, around(environ, hostname="pytorch-workers-0-3"))
    assert found.cluster.jobs["worker"][0] == "pytorch-workers-0-0.pytorch:2222"
    assert found.cluster.address == "pytorch-workers-0-3.pytorch:2222"


def test_a_job_set_with_several_types_of_task() -> None:
    # As site/static/examples/simple/jobset-with-network.yaml names pods:
    # <jobSet.name>-<replicatedJob.name>-<job-index>-<pod-index>.<subdomain>
    numbers = {"TFDML_CLUSTER_PS": "1", "TFDML_CLUSTER_EVALUATOR": "1", "JOB_COMPLETION_INDEX": "0"}
    jobs = {
        "chief": ("net-chief-0-0.example:2222",),
        "worker": ("net-worker-0-0.example:2222", "net-worker-0-1.example:2222"),
        "ps": ("net-ps-0-0.example:2222",),
        "evaluator": ("net-evaluator-0-0.example:2222",),
    }
    for task in jobs:
        environ = pod(2, "example", TFDML_CLUSTER_TASK=task, **numbers)
        found = place(kubernetes.find, around(environ, hostname=f"net-{task}-0-0"))
        assert found.cluster.jobs == jobs
        assert found.cluster.task_name == f"{task} 0"


def test_a_job_set_with_a_replica_for_each_task() -> None:
    # The index is the label jobset.sigs.k8s.io/job-index then, and every pod has the completion index 0.
    environ = pod(
        2,
        "digits",
        TFDML_CLUSTER_INDEX="1",
        TFDML_CLUSTER_PODS="digits-{task}-{index}-0",
        JOB_COMPLETION_INDEX="0",
    )
    found = place(kubernetes.find, around(environ, hostname="digits-worker-1-0"))
    assert found.cluster.jobs["worker"] == (
        "digits-worker-0-0.digits:2222",
        "digits-worker-1-0.digits:2222",
    )
    assert found.cluster.task_index == 1


def test_a_stateful_set_for_each_type_of_task() -> None:
    environ = pod(2, "mnist.ml.svc", TFDML_CLUSTER_TASK="ps", TFDML_CLUSTER_PS="2")
    found = place(kubernetes.find, around(environ, hostname="mnist-ps-1"))
    assert found.cluster.jobs["chief"] == ("mnist-chief-0.mnist.ml.svc:2222",)
    assert found.cluster.address == "mnist-ps-1.mnist.ml.svc:2222"


def test_a_chief_beside_the_workers() -> None:
    environ = pod(1, "s", TFDML_CLUSTER_CHIEF="1", TFDML_CLUSTER_TASK="chief")
    found = place(kubernetes.find, around(environ, hostname="a-chief-0"))
    assert found.cluster.num_workers == 2 and found.cluster.is_chief


def test_pods_on_the_hosts_network_say_their_number() -> None:
    environ = pod(2, "s", TFDML_CLUSTER_INDEX="1", TFDML_CLUSTER_PODS="w-{index}")
    found = place(kubernetes.find, around(environ, hostname="ip-10-0-0-7"))
    assert found.cluster.address == "w-1.s:2222"


def test_a_name_with_its_domain() -> None:  # spec.setHostnameAsFQDN
    found = place(kubernetes.find, around(pod(2, "s"), hostname="w-1.s.default.svc.cluster.local"))
    assert found.cluster.address == "w-1.s:2222"


def test_a_single_pod_is_local() -> None:
    assert place(kubernetes.find, around(pod(1, "s"), hostname="w-0")).cluster.is_local


def test_where_nothing_says_how_many_there_are_it_does_not_apply() -> None:
    message = "KUBERNETES_SERVICE_HOST and TFDML_CLUSTER_SERVICE are not set"
    assert reason(kubernetes.find, around({})) == message
    job = around({**IN_A_POD, "JOB_COMPLETION_INDEX": "1"}, hostname="sweep-1")
    assert "TFDML_CLUSTER_WORKERS is not set" in reason(kubernetes.find, job)
    assert winner(job) == "local"


@pytest.mark.parametrize(
    ("hostname", "environ", "message"),
    [
        ("w-0", {"TFDML_CLUSTER_SERVICE": ""}, "WORKERS is set, but TFDML_CLUSTER_SERVICE is not"),
        ("w-0", {"TFDML_CLUSTER_WORKERS": ""}, "SERVICE is set, but TFDML_CLUSTER_WORKERS is not"),
        (
            "w-0",
            {"TFDML_CLUSTER_WORKERS": "0"},
            "WORKERS must be a whole number, 1 or more, got '0'",
        ),
        ("w-0", {"TFDML_CLUSTER_WORKERS": "two"}, "must be a whole number, 1 or more, got 'two'"),
        (
            "w-2",
            {},
            r"this pod is worker 2, but the job has 2 .*make TFDML_CLUSTER_WORKERS the number",
        ),
        ("web-7f9c", {}, "must end in its number, like digits-0, got 'web-7f9c'"),
        ("web", {"JOB_COMPLETION_INDEX": "1"}, "its name must end in -1, got 'web'"),
        ("w-0", {"TFDML_CLUSTER_TASK": "ps"}, "task types, worker, got 'ps'"),
        (
            "w-0",
            {"TFDML_CLUSTER_TASK": "boss", "TFDML_CLUSTER_PS": "1"},
            "chief, worker, ps, got 'boss'",
        ),
        ("w-0", {"TFDML_CLUSTER_PS": "1"}, "must be like digits-worker-0, got 'w-0'"),
        (
            "w-0",
            {"TFDML_CLUSTER_PODS": "w-{task}"},
            r"must have \{index\} in it, .* got 'w-\{task\}'",
        ),
        (
            "w-0",
            {"TFDML_CLUSTER_PODS": "w-{index}", "TFDML_CLUSTER_PS": "1"},
            r"must have \{index\} and \{task\} in it",
        ),
        # A Service with a cluster IP that is called tfdml-cluster makes such a variable.
        (
            "w-0",
            {"TFDML_CLUSTER_PORT": "tcp://10.0.0.7:2222"},
            "TFDML_CLUSTER_PORT must be a whole number, from 1 to 65535, got 'tcp://10.0.0.7:2222'",
        ),
    ],
)
def test_broken_manifests(hostname: str, environ: dict[str, str], message: str) -> None:
    refused(kubernetes.find, around({**pod(2, "s"), **environ}, hostname=hostname), message)
