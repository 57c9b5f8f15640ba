"""What the pods of StatefulSet, JobSet and TFJob may do, and what happens when one ends."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.reading import documents, of_kind, pods
from tests.deploy.samples import JOBS
from tfdml import deploy
from tfdml.deploy.job import Job
from tfdml.errors import ConfigError

KINDS = ("kubernetes", "jobset", "kubeflow")
EVERY = JOBS["every type"]


@pytest.mark.parametrize("kind", KINDS)
def test_only_pods_of_the_job_reach_its_pods(kind: str) -> None:
    text = deploy.generate(kind, EVERY)
    (policy,) = of_kind(text, "NetworkPolicy")
    spec = policy["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    own = spec["podSelector"]["matchLabels"]
    # One rule, one peer, without namespaceSelector: pods of this namespace with the job's label.
    assert spec["ingress"] == [{"from": [{"podSelector": {"matchLabels": own}}]}]
    assert own and EVERY.name in own.values()
    assert all(own.items() <= pod.labels.items() for pod in pods(text))
    namespaces = {document["metadata"]["namespace"] for document in documents(text)}
    assert namespaces == {"team-a"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_every_pod_has(kind: str) -> None:
    for pod in pods(deploy.generate(kind, EVERY)):
        spec = pod.spec
        (container,) = spec["containers"]
        assert container["image"] == EVERY.image
        assert spec["terminationGracePeriodSeconds"] >= EVERY.save_seconds
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        mounted = {each["mountPath"]: volumes[each["name"]] for each in container["volumeMounts"]}
        claim = mounted["/mnt/all of it"]["persistentVolumeClaim"]
        assert claim == {"claimName": "claim-1"}
        assert mounted["/dev/shm"]["emptyDir"]["medium"] == "Memory"
        resources = container["resources"]
        assert resources["requests"] == {"cpu": "4", "memory": "16Gi"}
        assert resources["limits"]["memory"] == "16Gi"
        has_gpus = "worker" in pod.hostname or "evaluator" in pod.hostname
        assert resources["limits"].get("nvidia.com/gpu") == ("2" if has_gpus else None)
        assert bool(spec.get("tolerations")) == has_gpus


def test_a_stateful_set_starts_all_pods_at_once() -> None:
    sets = of_kind(deploy.generate("kubernetes", EVERY), "StatefulSet")
    assert [each["metadata"]["name"] for each in sets] == [
        f"all-types-{kind}" for kind in ("chief", "worker", "ps", "evaluator")
    ]
    for each in sets:
        spec = each["spec"]
        assert spec["podManagementPolicy"] == "Parallel"
        labels = spec["template"]["metadata"]["labels"]
        assert spec["selector"]["matchLabels"].items() <= labels.items()
        # The API refuses both in a StatefulSet's pods.
        assert "restartPolicy" not in spec["template"]["spec"]
        assert "activeDeadlineSeconds" not in spec["template"]["spec"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_chief_can_save_while_the_others_still_serve(kind: str) -> None:
    for pod in pods(deploy.generate(kind, EVERY)):
        (container,) = pod.spec["containers"]
        serves = "-worker-" in pod.hostname or "-ps-" in pod.hostname
        hook = {"preStop": {"exec": {"command": ["sleep", "300"]}}} if serves else None
        assert container.get("lifecycle") == hook
        # What the hook takes is part of it.
        assert pod.spec["terminationGracePeriodSeconds"] > 300
    for pod in pods(deploy.generate(kind, JOBS["an evaluator"])):
        assert "lifecycle" not in pod.spec["containers"][0]


def job_set(job: Job) -> dict[str, Any]:
    (document,) = of_kind(deploy.generate("jobset", job), "JobSet")
    return document["spec"]


def policies(job: Job) -> dict[str, dict[str, Any]]:
    """What a Job of the JobSet does after which end of a pod, by type of task."""
    specs = {each["name"]: each["template"]["spec"] for each in job_set(job)["replicatedJobs"]}
    result = {}
    for name, spec in specs.items():
        # A Job with podFailurePolicy wants pods that do not start again by themselves.
        assert spec["template"]["spec"]["restartPolicy"] == "Never"
        assert spec["activeDeadlineSeconds"] == job.running_seconds
        exit_rule, disruption_rule = spec["podFailurePolicy"]["rules"]
        exit_codes = exit_rule["onExitCodes"]
        assert exit_codes == {"containerName": "tfdml", "operator": "In", "values": [42]}
        assert disruption_rule["onPodConditions"][0]["type"] == "DisruptionTarget"
        assert exit_rule["action"] == disruption_rule["action"]
        result[name] = {"action": exit_rule["action"], "backoffLimit": spec["backoffLimit"]}
    return result


def test_workers_of_a_job_set_start_again_together() -> None:
    job = JOBS["workers"]
    assert policies(job) == {"worker": {"action": "FailJob", "backoffLimit": 0}}
    failure = job_set(job)["failurePolicy"]
    assert failure["maxRestarts"] == job.max_restarts
    # In this order: at the deadline tasks exit 42 as well.
    assert [(rule["action"], rule["onJobFailureReasons"]) for rule in failure["rules"]] == [
        ("FailJobSet", ["DeadlineExceeded"]),
        ("RestartJobSetAndIgnoreMaxRestarts", ["PodFailurePolicy"]),
    ]


def test_a_worker_with_parameter_servers_is_replaced_by_itself() -> None:
    found = policies(JOBS["parameter servers"])
    assert found["worker"] == {"action": "Ignore", "backoffLimit": 3}
    assert found["chief"] == found["ps"] == {"action": "FailJob", "backoffLimit": 0}


@pytest.mark.parametrize(
    ("job", "names"),
    [
        ("workers", ["worker"]),
        ("a chief", ["chief", "worker"]),
        ("parameter servers", ["chief"]),
        ("an evaluator", ["worker"]),
    ],
)
def test_who_ends_a_job_set(job: str, names: list[str]) -> None:
    policy = job_set(JOBS[job])["successPolicy"]
    assert policy == {"operator": "All", "targetReplicatedJobs": names}


def tf_job(job: Job) -> dict[str, Any]:
    (document,) = of_kind(deploy.generate("kubeflow", job), "TFJob")
    return document["spec"]


def test_a_tf_job() -> None:
    spec = tf_job(EVERY)
    assert list(spec["tfReplicaSpecs"]) == ["Chief", "Worker", "PS", "Evaluator"]
    # ExitCode would end the job at 42: training-operator v1.9, IsRetryableExitCode, wants 128 and more.
    assert {each["restartPolicy"] for each in spec["tfReplicaSpecs"].values()} == {"OnFailure"}
    policy = spec["runPolicy"]
    assert policy["activeDeadlineSeconds"] == EVERY.running_seconds
    assert policy["cleanPodPolicy"] == "Running"
    assert "successPolicy" not in spec
    assert tf_job(JOBS["workers"])["successPolicy"] == "AllWorkers"


def test_a_tf_job_counts_the_restarts_of_all_its_containers() -> None:
    # core.PastBackoffLimit: sum >= limit ends the job. Two workers may start again 10 times each.
    assert tf_job(JOBS["workers"])["runPolicy"]["backoffLimit"] == 21
    assert tf_job(JOBS["odd arguments"])["runPolicy"]["backoffLimit"] == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("volume", ["/mnt/shared", "My-Claim", "a_b", "-a"])
def test_a_volume_that_is_no_claim(kind: str, volume: str) -> None:
    with pytest.raises(ConfigError, match="the name of a PersistentVolumeClaim") as caught:
        deploy.generate(kind, Job(("a.py",), volume=volume))
    assert repr(volume) in str(caught.value) and "\n" not in str(caught.value)
