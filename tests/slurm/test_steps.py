"""What tasks of a real step work out from their environment is where Slurm has put them."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.jobs import lines, write

pytestmark = pytest.mark.slow

# A line for each task: what it found, and what Slurm says of it.
TELL = """
    import json, os, tfdml
    from tfdml.errors import ClusterError

    told = {name: os.environ.get(name) for name in
            ("SLURM_PROCID", "SLURMD_NODENAME", "SLURM_LOCALID", "CUDA_VISIBLE_DEVICES")}
    try:
        place = tfdml.cluster.locate()
        told.update(
            platform=place.platform, type=place.cluster.task_type, index=place.cluster.task_index,
            host=place.host, local=place.local_index, gpus=place.gpus,
            cluster={job: list(tasks) for job, tasks in place.cluster.jobs.items()})
    except ClusterError as error:
        told["error"] = str(error)
    with open(f"told-{os.environ['SLURM_PROCID']}", "w") as file:
        json.dump(told, file)
"""


def told_in(directory: Path) -> list[dict[str, Any]]:
    """What the tasks have told, in their order."""
    told = [json.loads(path.read_text()) for path in directory.glob("told-*")]
    return sorted(told, key=lambda each: int(each["SLURM_PROCID"]))


def check(told: list[dict[str, Any]], num_tasks: int) -> None:
    """Every task has the same cluster, with itself where it is."""
    assert [each["SLURM_PROCID"] for each in told] == [str(task) for task in range(num_tasks)]
    for task, each in enumerate(told):
        assert "error" not in each, each["error"]
        assert each["platform"] == "slurm"
        assert each["cluster"] == told[0]["cluster"]
        assert each["index"] == task and each["type"] == "worker"
        assert each["host"] == each["SLURMD_NODENAME"]
        assert str(each["local"]) == each["SLURM_LOCALID"]
    addresses = told[0]["cluster"]["worker"]
    assert len(set(addresses)) == num_tasks


@pytest.mark.parametrize(
    ("options", "num_tasks"),
    [
        ("-n2", 2),
        ("-n3 -N2", 3),
        ("-n9", 9),
        ("-n16 -N2", 16),
        ("-n5 -N2 --overcommit", 5),
        ("-n9 --ntasks-per-node=6", 9),
        ("-n5 -N2 --distribution=block", 5),
        ("-n5 -N2 --distribution=cyclic", 5),
        ("-n7 -N2 --distribution=plane=2", 7),
        ("-n5 -N2 --distribution=*:cyclic", 5),
        ("-n5 -N2 --distribution=block:cyclic,NoPack", 5),
        ("-n6 -N2 --distribution=pack", 6),
        ("-n12 --distribution=nopack", 12),
        ("-n2 -N2 --nodelist=127.0.0.2,127.0.0.1", 2),
    ],
)
def test_layouts(options: str, num_tasks: int, slurm_cluster: Cluster, tmp_path: Path) -> None:
    write(tmp_path, TELL)
    environ = ("env", "TFDML_CLUSTER=slurm")
    slurm_cluster.run("srun", *options.split(), *environ, "python", "script.py", cwd=tmp_path)
    check(told_in(tmp_path), num_tasks)


def test_an_arbitrary_layout_is_refused_by_every_task(
    slurm_cluster: Cluster, tmp_path: Path
) -> None:
    write(tmp_path, TELL)
    (tmp_path / "hosts").write_text("127.0.0.2\n127.0.0.1\n127.0.0.2\n")
    environ = ("env", f"SLURM_HOSTFILE={tmp_path / 'hosts'}", "TFDML_CLUSTER=slurm")
    command = ("srun", "-n3", "--distribution=arbitrary", "python", "script.py")
    slurm_cluster.run(*environ, *command, cwd=tmp_path)
    told = told_in(tmp_path)
    assert len(told) == 3
    assert all("must be block, cyclic or plane" in each["error"] for each in told)


def test_components_of_a_heterogeneous_job_in_another_order_than_their_nodes_are_refused(
    slurm_cluster: Cluster, tmp_path: Path
) -> None:
    write(tmp_path, TELL)
    task = ("env", "TFDML_CLUSTER=slurm", "python", "script.py")
    first, second = ("-w127.0.0.2", "-n1", *task), ("-w127.0.0.1", "-n2", *task)
    slurm_cluster.run("srun", *first, ":", *second, cwd=tmp_path)
    told = told_in(tmp_path)
    assert len(told) == 3
    assert all("one component of a heterogeneous job" in each["error"] for each in told)
    assert told[0]["error"].startswith(
        "SLURMD_NODENAME=127.0.0.2, but task 0 should have 127.0.0.1"
    )


@pytest.mark.parametrize(
    ("settings", "hosts"),
    [
        # Without --cpus-per-task of its own, srun would put two tasks on each node.
        ({"workers": 4, "cpus_per_worker": 2}, "1 1 1 1"),
        ({"workers": 4, "cpus_per_worker": 3}, "1 1 2 2"),
        ({"workers": 5, "cpus_per_worker": 2}, "1 1 1 1 2"),
    ],
)
def test_generated_files_fill_one_node_after_the_other(
    settings: dict[str, Any], hosts: str, slurm_cluster: Cluster, tmp_path: Path
) -> None:
    slurm_cluster.wait(slurm_cluster.submit(write(tmp_path, TELL, **settings)))
    told = told_in(tmp_path)
    check(told, settings["workers"])
    assert [each["host"][-1] for each in told] == hosts.split()


def test_roles_and_port_of_a_generated_file(slurm_cluster: Cluster, tmp_path: Path) -> None:
    roles = {"workers": 2, "ps": 1, "evaluator": True, "port": 4000}
    slurm_cluster.wait(slurm_cluster.submit(write(tmp_path, TELL, **roles)))
    told = told_in(tmp_path)
    assert [(each["type"], each["index"]) for each in told] == [
        ("chief", 0),
        ("worker", 0),
        ("worker", 1),
        ("ps", 0),
        ("evaluator", 0),
    ]
    assert told[0]["cluster"]["chief"] == ["127.0.0.1:4000"]


@pytest.mark.parametrize(
    ("workers", "gpus_per_worker", "gpus"),
    [(4, 1, ["0", "1", "2", "3"]), (3, 2, ["0,1", "2,3", "0,1"]), (2, 4, ["0,1,2,3"] * 2)],
)
def test_every_task_has_its_own_gpus(
    workers: int, gpus_per_worker: int, gpus: list[str], slurm_cluster: Cluster, tmp_path: Path
) -> None:
    file = write(tmp_path, TELL, workers=workers, gpus_per_worker=gpus_per_worker)
    facts = slurm_cluster.wait(slurm_cluster.submit(file))
    assert facts["JobState"] == "COMPLETED", lines(tmp_path)
    told = told_in(tmp_path)
    check(told, workers)
    assert [each["CUDA_VISIBLE_DEVICES"] for each in told] == gpus
    assert [",".join(each["gpus"]) for each in told] == gpus


def test_tasks_that_see_the_same_gpus_share_them(slurm_cluster: Cluster, tmp_path: Path) -> None:
    write(tmp_path, TELL)
    environ = ("env", "TFDML_CLUSTER=slurm")
    slurm_cluster.run(
        "srun", "-n2", "-N1", "--gres=gpu:4", *environ, "python", "script.py", cwd=tmp_path
    )
    told = told_in(tmp_path)
    check(told, 2)
    assert [each["CUDA_VISIBLE_DEVICES"] for each in told] == ["0,1,2,3"] * 2
    assert [each["gpus"] for each in told] == [["0", "1"], ["2", "3"]]


def test_a_batch_script_without_srun_is_told_to_use_it(
    slurm_cluster: Cluster, tmp_path: Path
) -> None:
    file = write(tmp_path, TELL)
    file.write_text(file.read_text().replace('  python "${', '  true; python "${'))
    slurm_cluster.wait(slurm_cluster.submit(file))
    (told,) = told_in(tmp_path)
    assert "start it with srun" in told["error"]


def test_the_launcher_in_a_step_hands_its_task_and_status_on(
    slurm_cluster: Cluster, tmp_path: Path
) -> None:
    """Generated files do without it; people need not."""
    write(tmp_path, f"{textwrap.dedent(TELL)}\nraise SystemExit(42)\n")
    command = ("env", "TFDML_CLUSTER=slurm", "tfdml", "launch", "script.py")
    options = ("-n3", "-N2", "--kill-on-bad-exit=0")
    done = slurm_cluster.attempt("srun", *options, *command, cwd=tmp_path)
    assert done.returncode == 42, done.stderr
    told = told_in(tmp_path)
    assert [each["index"] for each in told] == [0, 1, 2]
    assert {each["platform"] for each in told} == {"tf_config"}
    assert [each["host"] for each in told] == [each["SLURMD_NODENAME"] for each in told]
