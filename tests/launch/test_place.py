"""What the launcher makes of a place that a platform has given to this process. Starts nothing."""

from __future__ import annotations

import socket

import pytest

from tfdml.cluster import ClusterSpec
from tfdml.cluster.order import PLATFORMS
from tfdml.cluster.resolver import Place
from tfdml.errors import ClusterError
from tfdml.launch import exposure, place

WORKERS = ("n1:23456", "n1:23457", "n2:23456", "n2:23457")


def at(index: int, platform: str = "slurm", gpus: tuple[str, ...] | None = None) -> Place:
    return Place(ClusterSpec({"worker": WORKERS}, "worker", index), gpus=gpus, platform=platform)


def test_what_was_found_is_one_line() -> None:
    assert place.found(at(2)) == "Slurm: this is worker 2 at n2:23456, of 4 worker"
    alone = Place(ClusterSpec.local(), platform="slurm")
    assert place.found(alone) == "Slurm: a single task, which needs no cluster"


def test_every_platform_has_a_name_for_people() -> None:
    assert set(place.TITLES) == set(PLATFORMS)


def test_the_task_gets_the_cluster_whatever_it_was_called() -> None:
    environ = {"TF_CONFIG": '{"sparseCluster": ...}', "TF_CPP_MIN_LOG_LEVEL": "0"}
    task = place.plan_task(at(1), "train.py", ["--x"], environ)
    assert ClusterSpec.from_tf_config(task.environment(environ)["TF_CONFIG"]) == at(1).cluster
    assert task.command[1:] == ["train.py", "--x"]
    assert task.environment(environ)["TF_CPP_MIN_LOG_LEVEL"] == "0"


@pytest.mark.parametrize(
    ("gpus", "visible", "expected"),
    [
        # The platform means some GPUs and set nothing.
        (("2", "3"), None, {"CUDA_VISIBLE_DEVICES": "2,3"}),
        ((), None, {"CUDA_VISIBLE_DEVICES": "-1"}),
        # It bound the task to its GPUs already.
        (("3",), "3", {}),
        # It shows all of the host's to both tasks, and means two for this one.
        (("2", "3"), "0,1,2,3", {"TFDML_GPUS": "2,3"}),
        # It says nothing, but set the variable: that may be a binding.
        (None, "3", {}),
        (None, "", {}),
    ],
)
def test_gpus_of_the_platform(
    gpus: tuple[str, ...] | None, visible: str | None, expected: dict[str, str]
) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    variables = place.plan_task(at(1, gpus=gpus), "train.py", [], environ).variables
    names = ("CUDA_VISIBLE_DEVICES", "TFDML_GPUS")
    assert {name: variables[name] for name in names if name in variables} == expected


def test_gpus_of_the_host_are_shared_where_nobody_says_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(place.gpus, "visible_gpus", lambda environ: ["0", "1", "2", "3"])
    shares = [place.plan_task(at(i, "mpi"), "train.py", [], {}).variables for i in range(4)]
    assert [share["CUDA_VISIBLE_DEVICES"] for share in shares] == ["0,1", "2,3", "0,1", "2,3"]


def test_workers_inside_of_a_cluster_name_both() -> None:
    with pytest.raises(ClusterError) as raised:
        place.refuse_workers(at(1), "--workers=2")
    assert "--workers=2" in str(raised.value) and "Slurm: this is worker 1 at" in str(raised.value)
    place.refuse_workers(Place(ClusterSpec.local(), platform="slurm"), "--workers=2")


@pytest.mark.parametrize(
    ("platform", "remedy"),
    [
        ("slurm", "set TFDML_CLUSTER_PORT to another one"),
        ("tf_config", "change the address of worker 0"),
    ],
)
def test_a_port_in_use_is_one_sentence(platform: str, remedy: str) -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        here = Place(ClusterSpec({"worker": (f"n1:{port}", "n2:1")}), platform=platform)
        with pytest.raises(
            ClusterError, match=f"port {port} of this host is taken, and "
        ) as raised:
            place.check_port(here)
    assert remedy in str(raised.value) and "\n" not in str(raised.value)
    place.check_port(here)


def test_a_task_that_listens_nowhere_needs_no_port() -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        jobs = {"chief": (f"c:{other.getsockname()[1]}",), "worker": ("w:1",), "ps": ("p:1",)}
        place.check_port(Place(ClusterSpec(jobs, "chief", 0), platform="slurm"))
    place.check_port(Place(ClusterSpec({"worker": ("a:1", "b:1")}, "evaluator", 0)))


@pytest.mark.parametrize(
    ("addresses", "several_hosts", "expected"),
    [
        (
            (["8.8.4.4"], ["10.0.0.5"]),
            False,
            "port 23456, 23457 of this host is open to everybody who can reach 8.8.4.4, a public address",
        ),
        (
            ([], ["10.0.0.5", "10.1.0.5"]),
            True,
            "open to everybody who can reach 10.0.0.5, 10.1.0.5: TensorFlow's server",
        ),
        (([], ["10.0.0.5"]), False, None),
        (([], []), True, None),
    ],
)
def test_open_ports_are_told(
    monkeypatch: pytest.MonkeyPatch,
    addresses: tuple[list[str], list[str]],
    several_hosts: bool,
    expected: str | None,
) -> None:
    monkeypatch.setattr(exposure, "reachable_addresses", lambda: addresses)
    told = exposure.notice([at(0).cluster, at(1).cluster], several_hosts=several_hosts)
    assert (told is None) if expected is None else (expected in str(told))
    assert told is None or "docs/cluster-secure.md" in told


def test_ports_that_follow_each_other_are_a_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposure, "reachable_addresses", lambda: ([], ["10.0.0.5"]))
    tasks = list(ClusterSpec({"worker": ("a:12345", "a:12346", "a:12347", "b:1")}).tasks())[:3]
    assert str(exposure.notice(tasks, several_hosts=True)).startswith("port 12345-12347 of this")
    assert exposure.notice([ClusterSpec.local()], several_hosts=False) is None
