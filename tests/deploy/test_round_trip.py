"""From a file to its pods and containers, and from what each is given to the cluster that tfdml finds there."""

from __future__ import annotations

import functools

import pytest
import yaml

from tests.cluster.surroundings import around
from tests.deploy.reading import Task, containers, documents, of_kind, pods
from tests.deploy.samples import JOBS, ODD_ARGUMENTS
from tfdml import deploy
from tfdml.cluster import order
from tfdml.cluster.spec import ClusterSpec
from tfdml.deploy.job import Job

ON_KUBERNETES = ("kubernetes", "jobset", "kubeflow")
FOUND_BY = {
    "kubernetes": "kubernetes",
    "jobset": "kubernetes",
    "kubeflow": "kubeflow",
    "compose": "hosts",
}
SEVERAL = [name for name in JOBS if name != "one worker"]


@functools.cache
def tasks_of(kind: str, job: Job) -> list[Task]:
    text = deploy.generate(kind, job)
    return list(containers(text) if kind == "compose" else pods(text))


def found(kind: str, task: Task) -> ClusterSpec:
    *_, last = order.walk(around(task.environ, hostname=task.hostname))
    assert last.error is None, last.reason
    assert last.place is not None
    assert last.name == FOUND_BY[kind]
    return last.place.cluster


@pytest.mark.parametrize("job", SEVERAL)
@pytest.mark.parametrize("kind", FOUND_BY)
def test_every_task_finds_the_same_cluster_and_itself(kind: str, job: str) -> None:
    description = JOBS[job]
    tasks = tasks_of(kind, description)
    clusters = [found(kind, task) for task in tasks]
    assert {name: len(jobs) for name, jobs in clusters[0].jobs.items()} == description.task_counts
    assert all(cluster.jobs == clusters[0].jobs for cluster in clusters)
    selves = [cluster.task_name for cluster in clusters]
    assert sorted(selves) == sorted(each.task_name for each in clusters[0].tasks())
    if description.port is not None:
        assert {each.address.rpartition(":")[2] for each in clusters} == {str(description.port)}


@pytest.mark.parametrize("kind", FOUND_BY)
def test_one_worker_needs_no_cluster(kind: str) -> None:
    (task,) = tasks_of(kind, JOBS["one worker"])
    *_, last = order.walk(around(task.environ, hostname=task.hostname))
    assert last.place is not None and last.place.cluster.is_local


@pytest.mark.parametrize("kind", ON_KUBERNETES)
def test_names_stay_within_dns(kind: str) -> None:
    for task in tasks_of(kind, JOBS["the longest name"]):
        # As many workers as may be. JobSet's pods end in a suffix of the Job controller.
        index = "9999" if "worker" in task.hostname else "0"
        assert len(task.hostname.rpartition("-")[0] + f"-{index}-abcde") <= 63


@pytest.mark.parametrize("job", SEVERAL)
@pytest.mark.parametrize("kind", ON_KUBERNETES)
def test_addresses_are_names_that_kubernetes_gives(kind: str, job: str) -> None:
    text = deploy.generate(kind, JOBS[job])
    for task in tasks_of(kind, JOBS[job]):
        host, _, port = found(kind, task).address.rpartition(":")
        pod, _, service = host.partition(".")
        assert pod == task.hostname
        (container,) = task.spec["containers"]
        assert [str(each["containerPort"]) for each in container["ports"]] == [port]
        if kind == "kubernetes":
            (headless,) = of_kind(text, "Service")
            assert headless["metadata"]["name"] == service
            assert headless["spec"]["selector"].items() <= task.labels.items()
            assert headless["spec"]["clusterIP"] == "None"
            assert headless["spec"]["publishNotReadyAddresses"] is True
            assert {each["spec"]["serviceName"] for each in of_kind(text, "StatefulSet")} == {
                service
            }
        elif kind == "jobset":
            (job_set,) = of_kind(text, "JobSet")
            network = job_set["spec"]["network"]
            assert (network["subdomain"], network["enableDNSHostnames"]) == (service, True)


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("kind", FOUND_BY)
def test_the_command_arrives_as_it_was_given(kind: str, job: str) -> None:
    description = JOBS[job]
    assert job != "odd arguments" or description.command[1:] == ODD_ARGUMENTS
    expected = list(description.launch_command)
    for task in tasks_of(kind, description)[:20]:
        if kind == "kubernetes":
            assert task.argv[:2] == ["/bin/sh", "-c"] and task.argv[3] == "tfdml"
            assert task.argv[4:] == expected
        else:
            assert task.argv == expected


@pytest.mark.parametrize("kind", FOUND_BY)
def test_a_variable_of_the_pod_is_not_read_into_an_argument(kind: str) -> None:
    job = Job(
        ("train.py", "$(TFDML_CLUSTER)", "$TFDML_CLUSTER", "${TFDML_CLUSTER}", "$$(TF_CONFIG)")
    )
    task = tasks_of(kind, job)[0]
    assert task.argv[-5:] == list(job.command)


@pytest.mark.parametrize("kind", FOUND_BY)
def test_no_text_of_the_user_gets_into_a_remark(kind: str) -> None:
    text = deploy.generate(kind, JOBS["odd arguments"])
    remarks = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    assert len(remarks) > 15
    assert not [line for line in remarks if "no remark" in line or "two lines" in line]
    assert documents(text) if kind != "compose" else yaml.safe_load(text)
