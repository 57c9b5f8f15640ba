"""Slurm's variables of a step give every task's address, this task, and its GPUs."""

from __future__ import annotations

import pytest

from tests.cluster.surroundings import around, place, reason, refused, winner
from tfdml.cluster import slurm

# Two tasks on each of two nodes, as srun started them: open-mpi.org, users mailing list, "SLURM environment
# variables at runtime" (the output under hpmpi/), with the job's and the step's number.
TWO_BY_TWO = """
    SLURM_JOB_ID=23
    SLURM_STEP_ID=0
    SLURM_NODELIST=node[1-2]
    SLURM_TASKS_PER_NODE=2(x2)
    SLURM_STEP_NODELIST=node[1-2]
    SLURM_STEP_TASKS_PER_NODE=2(x2)
    SLURM_NNODES=2
    SLURM_NPROCS=4
    SLURM_NODEID=1
    SLURM_PROCID=3
    SLURM_LOCALID=1
"""
# `srun -n 1 --gres=gpu:2 printenv`: documentation of a national computing centre; CUDA_VISIBLE_DEVICES as
# cgroups number the two.
ONE_TASK_TWO_GPUS = """
    SLURM_NTASKS=1
    SLURM_NPROCS=1
    SLURM_DISTRIBUTION=cyclic,pack
    SLURM_JOB_ID=258187
    SLURM_STEP_ID=0
    SLURM_NNODES=1
    SLURM_JOB_NODELIST=25a-hgpn026
    SLURM_STEP_NODELIST=25a-hgpn026
    SLURM_STEP_NUM_NODES=1
    SLURM_STEP_NUM_TASKS=1
    SLURM_STEP_TASKS_PER_NODE=1
    SLURM_GPUS_ON_NODE=2
    SLURM_STEP_GPUS=1,3
    SLURM_NODEID=0
    SLURM_PROCID=0
    SLURM_LOCALID=0
    CUDA_VISIBLE_DEVICES=0,1
"""
# The shell of `salloc` on a compute node is a step of its own with one task, whatever the job has.
INTERACTIVE_STEP = """
    SLURM_JOB_ID=1720714
    SLURM_JOB_NODELIST=GPU71E4
    SLURM_TASKS_PER_NODE=8
    SLURM_STEP_ID=4294967290
    SLURM_STEP_NODELIST=GPU71E4
    SLURM_STEP_NUM_TASKS=1
    SLURM_STEP_TASKS_PER_NODE=1
    SLURM_GPUS_ON_NODE=1
    SLURM_PROCID=0
    SLURM_LOCALID=0
    SLURM_NODEID=0
    CUDA_VISIBLE_DEVICES=0
"""
# A batch script's environment, which has SLURM_PROCID but no step: notes of a university's users.
BATCH_SCRIPT = """
    SLURM_GTIDS=0
    SLURM_JOB_ID=415830
    SLURM_JOB_NODELIST=n046
    SLURM_JOB_NUM_NODES=1
    SLURM_LOCALID=0
    SLURM_NNODES=1
    SLURM_NODEID=0
    SLURM_NODELIST=n046
    SLURM_NPROCS=4
    SLURM_NTASKS=4
    SLURM_PROCID=0
    SLURM_TASKS_PER_NODE=4
"""
# `srun env` in a file of `tfdml cluster --format=slurm` (3 workers of 2 GPUs, 4 CPUs) on two nodes: srun of Slurm
# 22.05.8 (Debian's slurm-wlm 22.05.8-4), without addresses, ports and user names. The last task's.
SRUN_22_05 = """
    CUDA_VISIBLE_DEVICES=0,1
    SLURMD_NODENAME=n2
    SLURM_CPUS_ON_NODE=4
    SLURM_CPUS_PER_TASK=4
    SLURM_DISTRIBUTION=block
    SLURM_GPUS_ON_NODE=2
    SLURM_GPUS_PER_TASK=2
    SLURM_GTIDS=2
    SLURM_JOBID=71
    SLURM_JOB_CPUS_PER_NODE=8,4
    SLURM_JOB_CPUS_PER_NODE_PACK_GROUP_0=8,4
    SLURM_JOB_GPUS=0,1,2,3
    SLURM_JOB_ID=71
    SLURM_JOB_NAME=digits
    SLURM_JOB_NODELIST=n[1-2]
    SLURM_JOB_NUM_NODES=2
    SLURM_JOB_PARTITION=debug
    SLURM_LABELIO=1
    SLURM_LOCALID=0
    SLURM_MEM_PER_CPU=4096
    SLURM_NNODES=2
    SLURM_NODEID=1
    SLURM_NODELIST=n[1-2]
    SLURM_NODE_ALIASES=(null)
    SLURM_NPROCS=3
    SLURM_NTASKS=3
    SLURM_OPEN_MODE=a
    SLURM_PRIO_PROCESS=0
    SLURM_PROCID=2
    SLURM_STEPID=0
    SLURM_STEP_GPUS=0,1
    SLURM_STEP_ID=0
    SLURM_STEP_NODELIST=n[1-2]
    SLURM_STEP_NUM_NODES=2
    SLURM_STEP_NUM_TASKS=3
    SLURM_STEP_TASKS_PER_NODE=2,1
    SLURM_TASKS_PER_NODE=2,1
    SLURM_TASK_PID=17202
    SLURM_TOPOLOGY_ADDR=n2
    SLURM_TOPOLOGY_ADDR_PATTERN=node
    SLURM_UMASK=0022
"""
# The first task of `srun -w n2 -n1 PROGRAM : -w n1 -n2 PROGRAM`, same source. It runs on n2, and only
# SLURMD_NODENAME says so: nodes are sorted by name, components are not.
HETEROGENEOUS_22_05 = """
    SLURMD_NODENAME=n2
    SLURM_CPUS_ON_NODE=1
    SLURM_DISTRIBUTION=block
    SLURM_HET_SIZE=2
    SLURM_JOB_CPUS_PER_NODE=2,1
    SLURM_JOB_ID=72
    SLURM_JOB_NODELIST=n[1-2]
    SLURM_JOB_NODELIST_PACK_GROUP_0=n2
    SLURM_JOB_NODELIST_PACK_GROUP_1=n1
    SLURM_JOB_NUM_NODES=2
    SLURM_LOCALID=0
    SLURM_NODEID=0
    SLURM_NODELIST=n[1-2]
    SLURM_NTASKS=3
    SLURM_PROCID=0
    SLURM_STEP_ID=0
    SLURM_STEP_NODELIST=n[1-2]
    SLURM_STEP_NUM_NODES=2
    SLURM_STEP_NUM_TASKS=3
    SLURM_STEP_TASKS_PER_NODE=2,1
    SLURM_TASKS_PER_NODE=2,1
"""


def step(counts: str, own: int, node: int, local: int, **more: str) -> dict[str, str]:
    """A step on nodes n9, n10 and so on."""
    num_nodes = len(slurm.expand_counts(counts))
    return {
        "SLURM_JOB_ID": "100",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NODELIST": f"n[9-{8 + num_nodes}]",
        "SLURM_STEP_TASKS_PER_NODE": counts,
        "SLURM_PROCID": str(own),
        "SLURM_NODEID": str(node),
        "SLURM_LOCALID": str(local),
        **more,
    }


def hosts_of(environ: dict[str, str]) -> list[str]:
    found = place(slurm.find, around(environ))
    return [address.partition(":")[0] for address in found.cluster.jobs["worker"]]


def test_two_tasks_on_each_of_two_nodes() -> None:
    found = place(slurm.find, around(TWO_BY_TWO))
    first = 12000 + 32 * 23
    assert found.cluster.jobs == {
        "worker": (f"node1:{first}", f"node1:{first + 1}", f"node2:{first}", f"node2:{first + 1}")
    }
    assert found.cluster.task_name == "worker 3"
    assert (found.tasks_on_host, found.local_index, found.gpus) == (2, 1, None)
    assert winner(around(TWO_BY_TWO)) == "slurm"


def test_a_real_task_of_a_generated_file() -> None:
    found = place(slurm.find, around(SRUN_22_05))
    first = 12000 + 32 * 71
    assert found.cluster.jobs == {"worker": (f"n1:{first}", f"n1:{first + 1}", f"n2:{first}")}
    assert (found.cluster.task_name, found.host) == ("worker 2", "n2")
    assert (found.tasks_on_host, found.local_index, found.gpus) == (1, 0, ("0", "1"))
    assert winner(around(SRUN_22_05)) == "slurm"


def test_components_in_another_order_than_their_nodes_are_refused() -> None:
    refused(
        slurm.find,
        around(HETEROGENEOUS_22_05),
        "SLURMD_NODENAME=n2, but task 0 should have n1 .*one component of a heterogeneous job",
    )


def test_every_task_works_out_the_same_cluster() -> None:
    tasks = [(0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 1, 1), (4, 2, 0), (5, 2, 1), (6, 3, 0)]
    clusters = []
    for own, node, local in tasks:
        found = place(slurm.find, around(step("2(x3),1", own, node, local)))
        assert found.cluster.task_index == own
        assert (found.host, found.local_index) == (f"n{9 + node}", local)
        clusters.append(found.cluster.with_task("worker", 0))
    assert len({cluster.to_tf_config() for cluster in clusters}) == 1


@pytest.mark.parametrize(
    ("distribution", "counts", "hosts"),
    [
        ({}, "2(x3),1", "9 9 10 10 11 11 12"),
        ({"SLURM_DISTRIBUTION": "block"}, "2,1", "9 9 10"),
        ({"SLURM_DISTRIBUTION": "cyclic"}, "2(x3),1", "9 10 11 12 9 10 11"),
        ({"SLURM_DISTRIBUTION": "cyclic,pack"}, "3,1", "9 10 9 9"),
        ({"SLURM_DISTRIBUTION": "cyclic:block"}, "2(x2)", "9 10 9 10"),
        ({"SLURM_DISTRIBUTION": "plane", "SLURM_DIST_PLANESIZE": "2"}, "4,3", "9 9 10 10 9 9 10"),
        ({"SLURM_DISTRIBUTION": "arbitrary"}, "1(x3)", "9 10 11"),
        # Only how full the nodes are: srun of Slurm 22.05.8, --distribution=nopack and =pack.
        ({"SLURM_DISTRIBUTION": "nopack"}, "2,1", "9 9 10"),
        ({"SLURM_DISTRIBUTION": "pack"}, "2,1", "9 9 10"),
    ],
)
def test_tasks_are_on_nodes_by_the_distribution(
    distribution: dict[str, str], counts: str, hosts: str
) -> None:
    expected = [f"n{number}" for number in hosts.split()]
    assert hosts_of(step(counts, 0, 0, 0, **distribution)) == expected


def test_a_single_task_is_local_and_has_all_its_gpus() -> None:
    found = place(slurm.find, around(ONE_TASK_TWO_GPUS))
    assert found.cluster.is_local and found.gpus == ("0", "1")
    assert winner(around(ONE_TASK_TWO_GPUS)) == "slurm"


def test_the_interactive_step_has_one_task() -> None:
    found = place(slurm.find, around(INTERACTIVE_STEP))
    assert found.cluster.is_local and found.gpus == ("0",)


@pytest.mark.parametrize(
    ("variables", "gpus"),
    [
        ({}, None),
        ({"SLURM_GPUS_ON_NODE": "4"}, ("2", "3")),
        ({"SLURM_GPUS_ON_NODE": "4", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}, ("2", "3")),
        ({"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}, ("GPU-b",)),
        # --gpus-per-task and --gpu-bind: what a task sees is its own.
        ({"SLURM_GPUS_ON_NODE": "4", "CUDA_VISIBLE_DEVICES": "0,1"}, ("0", "1")),
        ({"SLURM_GPUS_PER_TASK": "a100:1", "CUDA_VISIBLE_DEVICES": "0"}, ("0",)),
        # GPUs without device files in gres.conf: Slurm sets no CUDA_VISIBLE_DEVICES.
        ({"SLURM_GPUS_PER_TASK": "1", "SLURM_GPUS_ON_NODE": "2"}, ("1",)),
        ({"SLURM_GPUS_ON_NODE": "1", "CUDA_VISIBLE_DEVICES": "0"}, None),  # One for two tasks.
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, ()),
    ],
)
def test_gpus_of_the_second_of_two_tasks(
    variables: dict[str, str], gpus: tuple[str, ...] | None
) -> None:
    environ = step("2", 1, 0, 1, **variables)
    before = dict(environ)
    assert place(slurm.find, around(environ)).gpus == gpus
    assert environ == before  # CUDA_VISIBLE_DEVICES above all.


def test_ports_differ_between_jobs_and_steps_and_can_be_given() -> None:
    def first_port(**more: str) -> int:
        found = place(slurm.find, around(step("1(x2)", 0, 0, 0, **more)))
        return int(found.cluster.address.rpartition(":")[2])

    jobs = {first_port(SLURM_JOB_ID=str(job)) for job in range(7_000_000, 7_000_512)}
    assert len(jobs) == 512 and min(jobs) >= 12000 and max(jobs) < 32768 - 32
    assert first_port(SLURM_STEP_ID="0") != first_port(SLURM_STEP_ID="1")
    assert first_port(TFDML_CLUSTER_PORT="4000") == 4000
    # `srun --resv-ports`.
    assert first_port(SLURM_STEP_RESV_PORTS="15000-15003") == 15000
    assert first_port(SLURM_STEP_RESV_PORTS="15000-15003", TFDML_CLUSTER_PORT="4000") == 4000


def test_roles() -> None:
    environ = step("2(x2),1", 4, 2, 0, TFDML_CLUSTER_PS="1", TFDML_CLUSTER_EVALUATOR="1")
    found = place(slurm.find, around(environ))
    assert {job: len(found.cluster.jobs[job]) for job in found.cluster.jobs} == {
        "chief": 1,
        "worker": 2,
        "ps": 1,
        "evaluator": 1,
    }
    assert found.cluster.task_name == "evaluator 0"


def test_without_slurm_it_does_not_apply() -> None:
    assert reason(slurm.find, around({})) == "SLURM_JOB_ID is not set"
    # A batch script with one task: docs of a cluster's users, `myenv.bash`.
    one = {"SLURM_JOB_ID": "1484", "SLURM_NTASKS": "1", "SLURM_NNODES": "1", "SLURM_PROCID": "0"}
    assert "srun did not start this process" in reason(slurm.find, around(one))
    assert winner(around(one)) == "local"


def test_a_batch_script_with_several_tasks_would_train_alone() -> None:
    refused(
        slurm.find,
        around(BATCH_SCRIPT),
        r"job 415830 of Slurm has 4 task\(s\) on 1 node\(s\), but srun did not start .*"
        "start it with srun, or set TFDML_CLUSTER=local",
    )
    alone = {**around(BATCH_SCRIPT).environ, "TFDML_CLUSTER": "local"}
    assert winner(around(alone)) == "local"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"SLURM_STEP_NODELIST": "n[9-10"}, r"SLURM_STEP_NODELIST has a \[ that is never closed"),
        ({"SLURM_STEP_TASKS_PER_NODE": "2(x"}, "SLURM_STEP_TASKS_PER_NODE must be numbers like"),
        ({"SLURM_STEP_TASKS_PER_NODE": "2(x3)"}, r"names 2 node\(s\) and .* the tasks of 3"),
        ({"SLURM_STEP_NUM_TASKS": "8"}, r"makes 4 task\(s\), but the step has 8"),
        ({"SLURM_PROCID": ""}, "SLURM_PROCID, this task's number, is missing"),
        ({"SLURM_PROCID": "4"}, "SLURM_PROCID=4, .* must be from 0 to 3"),
        ({"SLURM_PROCID": "one"}, "SLURM_PROCID must be a whole number, 0 or more, got 'one'"),
        ({"SLURM_NODEID": "0"}, "SLURM_NODEID=0, but task 3 should have 1 .*--distribution=block"),
        ({"SLURM_DISTRIBUTION": "arbitrary"}, "must be block, cyclic or plane, got 'arbitrary'"),
        ({"SLURM_STEP_NODELIST": "", "SLURM_NODELIST": ""}, "none of SLURM_STEP_NODELIST"),
        ({"TFDML_CLUSTER_PORT": "65535"}, "ports up to 65536, but the last one is 65535"),
        ({"TFDML_CLUSTER_PORT": "http"}, "TFDML_CLUSTER_PORT must be a whole number, from 1 to"),
        ({"TFDML_CLUSTER_PS": "3"}, "TFDML_CLUSTER_PS=3 .* leave no worker"),
    ],
)
def test_broken_steps(change: dict[str, str], message: str) -> None:
    refused(slurm.find, around({**around(TWO_BY_TWO).environ, **change}), message)
