"""MPI launchers: numbers from the launcher, hosts from elsewhere, and a clear word where that is not enough."""

from __future__ import annotations

import pytest

from tests.cluster.surroundings import around, place, reason, refused, winner
from tfdml.cluster import mpi
from tfdml.cluster.resolver import Surroundings

# `mpirun -np 5 --map-by ppr:3:node` and `mpirun -np 5 -ppn 3` on two hosts, process 4: notes on rank
# binding of Open MPI and Intel MPI, with the sizes that docs.open-mpi.org ("Environment variables set for
# MPI applications") and Intel's reference add.
OPEN_MPI = """
    OMPI_COMM_WORLD_SIZE=5
    OMPI_COMM_WORLD_RANK=4
    OMPI_COMM_WORLD_LOCAL_SIZE=2
    OMPI_COMM_WORLD_LOCAL_RANK=1
    OMPI_COMM_WORLD_NODE_RANK=1
    OMPI_UNIVERSE_SIZE=6
    OMPI_MCA_orte_ess_node_rank=1
    OMPI_FIRST_RANKS=0
    PMIX_RANK=4
"""
INTEL_MPI = """
    PMI_RANK=4
    PMI_SIZE=5
    MPI_LOCALRANKID=1
    MPI_LOCALNRANKS=2
"""
# MVAPICH2's mpispawn.c, which sets these.
MVAPICH2 = """
    PMI_ID=4
    MV2_COMM_WORLD_RANK=4
    MV2_COMM_WORLD_LOCAL_RANK=1
    MV2_COMM_WORLD_LOCAL_SIZE=2
    MV2_COMM_WORLD_SIZE=5
"""
LAUNCHERS = [OPEN_MPI, INTEL_MPI, MVAPICH2]
# mpiexec in a job of one task: open-mpi.org, users mailing list.
ONE_TASK = """
    OMPI_MCA_orte_hnp_uri=3236233216.0;tcp://172.20.102.82:33559;tcp://172.40.102.82:33559
    OMPI_MCA_orte_app_num=0
    OMPI_UNIVERSE_SIZE=1
    OMPI_COMM_WORLD_SIZE=1
    OMPI_COMM_WORLD_LOCAL_SIZE=1
    OMPI_COMM_WORLD_RANK=0
    OMPI_COMM_WORLD_LOCAL_RANK=0
"""
# `salloc -N 2 -n 4 mpirun` on node2: open-mpi.org, users mailing list, "SLURM environment variables at
# runtime". Task 3, on node1, sees a step of Slurm, but it is that of mpirun's own daemon; and mpirun put
# tasks 0 and 1 on node2.
MPIRUN_IN_SLURM = """
    SLURM_JOB_NODELIST=node[1-2]
    SLURM_NNODES=1
    SLURM_NODELIST=node[1-2]
    SLURM_TASKS_PER_NODE=1
    SLURM_NPROCS=1
    SLURM_STEP_NODELIST=node1
    SLURM_STEP_TASKS_PER_NODE=1
    SLURM_NODEID=0
    SLURM_PROCID=0
    SLURM_LOCALID=0
    SLURM_JOB_ID=23
    OMPI_COMM_WORLD_SIZE=4
    OMPI_COMM_WORLD_RANK=3
    OMPI_COMM_WORLD_LOCAL_SIZE=2
    OMPI_COMM_WORLD_LOCAL_RANK=1
"""
# `srun --mpi=pmix` of two tasks, from a job's log.
PMIX_UNDER_SRUN = """
    PMIX_HOSTNAME=node16
    PMIX_NAMESPACE=slurm.pmix.5816711.0
    PMIX_RANK=0
    PMI_FD=6
    PMI_RANK=0
    PMI_SIZE=2
    SLURMD_NODENAME=node16
    SLURM_DISTRIBUTION=cyclic
    SLURM_GTIDS=0
    SLURM_JOB_ID=5816711
    SLURM_STEP_ID=0
    SLURM_STEP_NUM_TASKS=2
    SLURM_STEP_NODELIST=node[16-17]
    SLURM_STEP_TASKS_PER_NODE=1(x2)
    SLURM_PROCID=0
    SLURM_LOCALID=0
    SLURM_NODEID=0
"""


def rank(own: int, total: int, local: int, local_total: int, **more: str) -> dict[str, str]:
    return {
        "OMPI_COMM_WORLD_RANK": str(own),
        "OMPI_COMM_WORLD_SIZE": str(total),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(local),
        "OMPI_COMM_WORLD_LOCAL_SIZE": str(local_total),
        **more,
    }


def with_more(environ: str, **more: str) -> dict[str, str]:
    return {**around(environ).environ, **more}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_tasks_on_the_hosts_of_a_list(launcher: str) -> None:
    surroundings = around(with_more(launcher, TFDML_HOSTS="a:3,b:3"), hostname="b")
    found = place(mpi.find, surroundings)
    expected = ("a:12345", "a:12346", "a:12347", "b:12345", "b:12346")
    assert found.cluster.jobs == {"worker": expected}
    assert found.cluster.task_name == "worker 4"
    assert (found.local_index, found.tasks_on_host) == (1, 2)
    assert winner(surroundings) == "mpi"


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_without_a_list_the_hosts_are_unknown(launcher: str) -> None:
    message = "started 5 tasks on several hosts, and does not tell them .* set TFDML_HOSTS=a:2,b:2"
    refused(mpi.find, around(launcher), message)


def test_all_tasks_on_one_host_need_no_list() -> None:
    found = place(mpi.find, around(rank(1, 3, 1, 3)))
    assert found.cluster.jobs["worker"] == ("127.0.0.1:12345", "127.0.0.1:12346", "127.0.0.1:12347")
    assert (found.local_index, found.tasks_on_host) == (1, 3)


def test_a_single_task_is_local() -> None:
    assert place(mpi.find, around(ONE_TASK)).cluster.is_local


def test_two_jobs_on_a_host_have_their_own_ports() -> None:
    def first(job: str) -> str:
        return place(mpi.find, around(rank(0, 2, 0, 2, PMIX_NAMESPACE=job))).cluster.address

    assert first("prterun-n1-71@1") == first("prterun-n1-71@1") != first("prterun-n1-72@1")


@pytest.mark.parametrize(
    ("variables", "files"),
    [
        ({"TFDML_HOSTFILE": "h"}, {"h": "n1 slots=2\nn2 slots=2\n"}),
        (
            {"PBS_NODEFILE": "/var/spool/pbs/aux/1.m"},
            {"/var/spool/pbs/aux/1.m": "n1\nn1\nn2\nn2\n"},
        ),
        ({"PBS_NODEFILE": "/p"}, {"/p": "n1\nn2\n"}),
        ({"LSB_DJOB_HOSTFILE": "/l"}, {"/l": "n1\nn1\nn2\nn2\n"}),
        # sge_pe(5): host, slots, queue, processors.
        ({"PE_HOSTFILE": "/g"}, {"/g": "n1 2 all.q@n1 UNDEFINED\nn2 2 all.q@n2 UNDEFINED\n"}),
        ({"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_ID": "7"}, {}),
        ({"SM_HOSTS": '["n1","n2"]', "SM_CURRENT_HOST": "n2"}, {}),
        ({"AZ_BATCH_HOST_LIST": "n1,n2"}, {}),
        ({"AZ_BATCH_NODE_LIST": "n1;n2"}, {}),
        # Kubeflow's MPIJob mounts this file.
        (
            {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
            {"/etc/mpi/hostfile": "n1 slots=2\nn2 slots=2\n"},
        ),
    ],
)
def test_hosts_come_from_the_platform_below(
    variables: dict[str, str], files: dict[str, str]
) -> None:
    surroundings = around(rank(2, 4, 0, 2, **variables), hostname="n2", files=files)
    found = place(mpi.find, surroundings)
    assert [each.partition(":")[0] for each in found.cluster.jobs["worker"]] == [
        "n1",
        "n1",
        "n2",
        "n2",
    ]
    assert winner(surroundings) == "mpi"


def test_more_slots_than_tasks() -> None:
    def hosts(surroundings: Surroundings) -> list[str]:
        tasks = place(mpi.find, surroundings).cluster.jobs["worker"]
        return [task.partition(":")[0] for task in tasks]

    # Filled host after host: 8 on a, 4 on b; task 8 knows that it is the first of 4.
    filled = around(rank(8, 12, 0, 4, TFDML_HOSTS="a:8,b:8"))
    assert hosts(filled) == ["a"] * 8 + ["b"] * 4
    # Or as many on each (--map-by ppr:2:node).
    even = around(rank(2, 4, 0, 2, TFDML_HOSTS="a:8,b:8"))
    assert hosts(even) == ["a"] * 2 + ["b"] * 2
    # A host that gets no task is not part of the cluster.
    assert hosts(around(rank(3, 4, 1, 2, TFDML_HOSTS="a:2,b:2,c:2"))) == ["a", "a", "b", "b"]


def test_srun_knows_better() -> None:
    surroundings = around(PMIX_UNDER_SRUN)
    assert "srun started this process" in reason(mpi.find, surroundings)
    assert winner(surroundings) == "slurm"


def test_mpirun_in_a_job_of_slurm() -> None:
    surroundings = around(
        with_more(MPIRUN_IN_SLURM, TFDML_HOSTS="node2:2,node1:2"), hostname="node1"
    )
    found = place(mpi.find, surroundings)
    assert found.cluster.task_name == "worker 3" and found.host == "node1"
    assert winner(surroundings) == "mpi"
    # By Slurm's list task 3 would be on node2.
    message = (
        r"the hosts in SLURM_JOB_NODELIST \(node1:1,node2:1\) do not say where the 4 tasks are"
    )
    refused(mpi.find, around(MPIRUN_IN_SLURM, hostname="node1"), message)


def test_without_a_launcher_it_does_not_apply() -> None:
    assert "no variables of an MPI launcher" in reason(mpi.find, around({}))
    # Job scripts set PMI_RANK alone for other reasons.
    assert "no variables of an MPI launcher" in reason(mpi.find, around({"PMI_RANK": "1"}))


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (rank(4, 4, 0, 2, TFDML_HOSTS="a:2,b:2"), "OMPI_COMM_WORLD_RANK=4, .* from 0 to 3"),
        (rank(1, 0, 0, 2), "OMPI_COMM_WORLD_SIZE must be a whole number, 1 or more, got '0'"),
        # Tasks dealt out one a host (--map-by node): task 1 is the first on its host.
        (rank(1, 4, 0, 2, TFDML_HOSTS="a:2,b:2"), "task 1 is number 0 of 2 .*--map-by slot"),
        (rank(0, 6, 0, 2, TFDML_HOSTS="a:2,b:2"), "do not say where the 6 tasks are"),
        # Either 4,6,2 or 4,4,4: both fit what this task knows.
        (rank(0, 12, 0, 4, TFDML_HOSTS="a:4,b:6,c:8"), "do not say where the 12 tasks are"),
        (rank(0, 4, 0, 2, SM_HOSTS="algo-1"), "SM_HOSTS must be a JSON list, got 'algo-1'"),
        (rank(0, 4, 0, 2, TFDML_HOSTFILE="no"), "TFDML_HOSTFILE=no cannot be read"),
        (rank(0, 3, 0, 1, SLURM_JOB_NODELIST="n[1"), r"has a \[ that is never closed"),
    ],
)
def test_broken_launches(environ: dict[str, str], message: str) -> None:
    refused(mpi.find, around(environ), message)


def test_the_wrong_host_is_noticed() -> None:
    surroundings = around(rank(0, 4, 0, 2, TFDML_HOSTS="a:2,b:2"), hostname="b")
    refused(mpi.find, surroundings, "do not say where the 4 tasks are: task 0 is number 0 of 2")
