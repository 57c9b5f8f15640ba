"""Two hosts train together, found through each platform's environment: `tfdml launch SCRIPT`, without flags.

Only `gce` is missing: its members come from an API behind TLS, which a test cannot stand in for.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.launch import network
from tests.launch.launcher import Launcher, lines_of
from tests.launch.scripts import TRAIN


@dataclass(frozen=True)
class Platform:
    """`each` is the environment of each of the two hosts, `title` how the launcher calls what it found."""

    title: str
    each: tuple[Mapping[str, str], Mapping[str, str]]
    names: tuple[str, str] = ("n1", "n2")
    also: Mapping[str, int] = field(default_factory=dict)
    tasks: tuple[str, str] = ("worker 0", "worker 1")


def both(
    common: Mapping[str, str], **own: tuple[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    first = {**common, **{name: texts[0] for name, texts in own.items()}}
    second = {**common, **{name: texts[1] for name, texts in own.items()}}
    return first, second


def tf_config(jobs: Mapping[str, list[str]], **more: str) -> tuple[str, str]:
    tasks = [(job, index) for job in jobs for index in range(len(jobs[job]))]
    first, second = (
        json.dumps({"cluster": jobs, "task": {"type": job, "index": index}, **more})
        for job, index in tasks
    )
    return first, second


def vertex_spec(task: tuple[str, int]) -> str:
    pools = {"workerpool0": ["n1:2222"], "workerpool1": ["n2:2222"]}
    return json.dumps({"cluster": pools, "task": {"type": task[0], "index": task[1]}})


PODS = ("job-master-0.ns.svc", "job-worker-0.ns.svc")
CHIEF = ("chief 0", "worker 0")
PLATFORMS = {
    "slurm": Platform(
        "Slurm",
        both(
            {
                "SLURM_JOB_ID": "77",
                "SLURM_STEP_ID": "0",
                "SLURM_STEP_NODELIST": "n[1-2]",
                "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
                "SLURM_STEP_NUM_TASKS": "2",
                "SLURM_LOCALID": "0",
            },
            SLURM_PROCID=("0", "1"),
            SLURM_NODEID=("0", "1"),
        ),
    ),
    "mpi": Platform(
        "MPI",
        both(
            {
                "OMPI_COMM_WORLD_SIZE": "2",
                "OMPI_COMM_WORLD_LOCAL_RANK": "0",
                "OMPI_COMM_WORLD_LOCAL_SIZE": "1",
                "TFDML_HOSTS": "n1,n2",
            },
            OMPI_COMM_WORLD_RANK=("0", "1"),
        ),
    ),
    "hosts": Platform("TFDML_HOSTS", both({"TFDML_HOSTS": "10.213.7.1,10.213.7.2"})),
    "kubernetes": Platform(
        "Kubernetes",
        both(
            {
                "KUBERNETES_SERVICE_HOST": "10.0.0.1",
                "TFDML_CLUSTER_SERVICE": "digits",
                "TFDML_CLUSTER_WORKERS": "2",
            }
        ),
        names=("w-0", "w-1"),
        also={"w-0.digits": 0, "w-1.digits": 1},
    ),
    "kubeflow": Platform(
        "Kubeflow",
        both(
            {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
            TF_CONFIG=tf_config(
                {"master": [f"{PODS[0]}:2222"], "worker": [f"{PODS[1]}:2222"]}, environment="cloud"
            ),
        ),
        also={PODS[0]: 0, PODS[1]: 1},
        tasks=CHIEF,
    ),
    "tf_config": Platform(
        "TF_CONFIG", both({}, TF_CONFIG=tf_config({"worker": ["n1:2222", "n2:2222"]}))
    ),
    "sagemaker": Platform(
        "SageMaker",
        both(
            {"SM_HOSTS": '["algo-1", "algo-2"]', "SM_NUM_GPUS": "0"},
            SM_CURRENT_HOST=("algo-1", "algo-2"),
        ),
        names=("algo-1", "algo-2"),
    ),
    "vertex": Platform(
        "Vertex AI",
        both({}, CLUSTER_SPEC=(vertex_spec(("workerpool0", 0)), vertex_spec(("workerpool1", 0)))),
        tasks=CHIEF,
    ),
    "azureml": Platform("Azure ML", both({"AZ_BATCH_HOST_LIST": "n1,n2"})),
    "tpu": Platform("Cloud TPU", both({"TPU_WORKER_HOSTNAMES": "n1,n2"}, TPU_WORKER_ID=("0", "1"))),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PLATFORMS)
def test_two_hosts_of_a_platform_train_together(
    launcher: Launcher, tmp_path: Path, name: str
) -> None:
    platform = PLATFORMS[name]
    script = launcher.script(TRAIN)
    with network.hosts(tmp_path, platform.names, platform.also) as hosts:
        processes = []
        for host, environment in zip(hosts, platform.each, strict=True):
            launcher.variables = {"TFDML_CLUSTER": "", **environment}
            processes.append(launcher.begin(script, within=host.within))
        learnt = []
        for process, task in zip(processes, platform.tasks, strict=True):
            result = launcher.finish(process)
            assert result.returncode == 0, result.stdout + result.stderr
            assert f"tfdml launch: {platform.title}: this is {task} at " in result.stderr
            lines = lines_of(result.stdout, task)
            assert "replicas 2" in lines
            learnt += [line.removeprefix("learnt ") for line in lines if line.startswith("learnt")]
        assert learnt[0] == learnt[1]
        assert ast.literal_eval(learnt[0]) == pytest.approx([1.0] * 4, abs=0.05)
        launcher.expect_nothing_left()
