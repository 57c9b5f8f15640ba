"""Which tasks run where, with which GPUs: worked out without starting anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfdml.cluster import ClusterSpec
from tfdml.cluster.hosts import parse_list
from tfdml.errors import ClusterError
from tfdml.launch import gpus, plan


def test_one_worker_needs_no_cluster() -> None:
    (task,) = plan.plan_tasks(plan.on_this_host(1), "train.py", ["--x"], environ={})
    assert "TF_CONFIG" not in task.variables
    assert task.command[1:] == ["train.py", "--x"]


def test_local_workers_have_ports_of_their_own() -> None:
    tasks = plan.plan_tasks(plan.on_this_host(3), "train.py", [], environ={})
    seen = [ClusterSpec.from_tf_config(task.variables["TF_CONFIG"]) for task in tasks]
    assert [cluster.task_name for cluster in seen] == ["worker 0", "worker 1", "worker 2"]
    assert len({cluster.jobs["worker"] for cluster in seen}) == 1
    assert len(set(seen[0].jobs["worker"])) == 3


@pytest.mark.parametrize("name", ["TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS"])
def test_tasks_import_a_quiet_and_fast_tensorflow_unless_another_is_asked_for(name: str) -> None:
    for environ, expected in (({}, "1"), ({name: "0"}, "0")):
        (task,) = plan.plan_tasks(plan.on_this_host(1), "train.py", [], environ=environ)
        assert task.environment(environ)[name] == expected


def test_only_what_all_tasks_share_is_set_for_the_import() -> None:
    tasks = plan.plan_tasks(plan.on_this_host(2), "train.py", [], environ={})
    shared = plan.common_environment(tasks, {"XLA_FLAGS": "--x"})
    assert shared["XLA_FLAGS"] == "--x" and shared["KERAS_BACKEND"] == "tensorflow"
    assert "TF_CONFIG" not in shared


def test_every_host_works_out_the_same_cluster_and_its_own_share() -> None:
    hosts = parse_list("a:2, b,[fe80::1]:2", "--hosts")
    shares = [plan.on_many_hosts(hosts, i, base_port=7000) for i in range(3)]
    assert [[task.task_name for task in share] for share in shares] == [
        ["worker 0", "worker 1"],
        ["worker 2"],
        ["worker 3", "worker 4"],
    ]
    clusters = {task.jobs["worker"] for share in shares for task in share}
    assert clusters == {("a:7000", "a:7001", "b:7000", "[fe80::1]:7000", "[fe80::1]:7001")}


@pytest.mark.parametrize("node_index", [-1, 2])
def test_node_index_out_of_range(node_index: int) -> None:
    with pytest.raises(ClusterError, match="--node_index must be from 0 to 1"):
        plan.on_many_hosts(parse_list("a:1,b:1", "--hosts"), node_index, base_port=7000)


@pytest.mark.parametrize("base_port", [0, 65535])
def test_ports_out_of_range(base_port: int) -> None:
    with pytest.raises(ClusterError, match="--base_port"):
        plan.on_many_hosts(parse_list("a:2,b:2", "--hosts"), 0, base_port)


def test_gpus_that_a_batch_system_means_for_the_job() -> None:
    def variables(environ: dict[str, str], workers: int) -> list[str | None]:
        tasks = plan.plan_tasks(
            plan.on_this_host(workers), "train.py", [], platform_gpus=("2", "3"), environ=environ
        )
        return [task.variables.get("CUDA_VISIBLE_DEVICES") for task in tasks]

    assert variables({}, 1) == ["2,3"]
    assert variables({}, 2) == ["2", "3"]
    assert variables({"CUDA_VISIBLE_DEVICES": "7"}, 1) == [None]


def test_a_tf_config_of_the_platform_is_not_overwritten() -> None:
    with pytest.raises(ClusterError, match="TF_CONFIG is already set"):
        plan.plan_tasks(plan.on_this_host(1), "train.py", [], environ={"TF_CONFIG": "{}"})


def cuda_variables(visible: str, workers: int, gpus_per_worker: int | None) -> list[str | None]:
    tasks = plan.plan_tasks(
        plan.on_this_host(workers),
        "train.py",
        [],
        gpus_per_worker=gpus_per_worker,
        environ={"CUDA_VISIBLE_DEVICES": visible},
    )
    return [task.variables.get("CUDA_VISIBLE_DEVICES") for task in tasks]


@pytest.mark.parametrize(
    ("visible", "workers", "gpus_per_worker", "expected"),
    [
        ("0,1,2,3", 2, 2, ["0,1", "2,3"]),
        ("0,1,2,3", 2, 1, ["0", "1"]),
        ("0,1,2,3", 2, None, ["0,1", "2,3"]),
        ("3, GPU-ab", 2, 1, ["3", "GPU-ab"]),
        ("0,1", 2, 0, ["-1", "-1"]),
        ("0,1", 1, None, [None]),
        ("", 2, None, [None, None]),
        ("-1", 2, None, [None, None]),
        ("0,1,-1,2", 2, None, ["0", "1"]),
    ],
)
def test_gpus_are_divided(
    visible: str, workers: int, gpus_per_worker: int | None, expected: list[str | None]
) -> None:
    assert cuda_variables(visible, workers, gpus_per_worker) == expected


@pytest.mark.parametrize(
    ("visible", "workers", "gpus_per_worker", "expected"),
    [
        ("0,1", 2, None, ["-1", "0", "1", "-1", "-1"]),
        ("0,1", 1, None, ["-1", "0,1", "-1", "-1"]),
        ("0,1", 1, 1, ["-1", "0", "-1", "-1"]),
        ("", 2, None, [None] * 5),
    ],
)
def test_with_parameter_servers_gpus_are_for_the_workers(
    visible: str, workers: int, gpus_per_worker: int | None, expected: list[str | None]
) -> None:
    tasks = plan.plan_tasks(
        plan.with_servers(workers, 1, evaluator=True),
        "train.py",
        [],
        gpus_per_worker=gpus_per_worker,
        environ={"CUDA_VISIBLE_DEVICES": visible},
    )
    assert [task.variables.get("CUDA_VISIBLE_DEVICES") for task in tasks] == expected


def test_too_few_gpus() -> None:
    with pytest.raises(ClusterError, match=r"need 4 GPU\(s\), but this host shows 3"):
        cuda_variables("0,1,2", 2, 2)


def test_gpus_that_do_not_divide_evenly() -> None:
    with pytest.raises(ClusterError, match="--gpus_per_worker"):
        cuda_variables("0,1,2", 2, None)


def test_gpus_are_counted_by_their_device_files(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert gpus.visible_gpus({}, device_dir=str(tmp_path)) == ["0", "1"]
    assert gpus.visible_gpus({"CUDA_VISIBLE_DEVICES": "1"}, device_dir=str(tmp_path)) == ["1"]
