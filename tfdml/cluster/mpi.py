"""A task that mpirun or mpiexec started: Open MPI, MPICH and Intel MPI (Hydra), MVAPICH2, Cray PALS.

These tell a process its number among all and among those on its host, but not the names of the other
hosts, and to ask MPI itself would take a library that this process may not have. So:

- all tasks on one host: nothing more is needed;
- else the hosts come from TFDML_HOSTS or TFDML_HOSTFILE (`mpirun -x TFDML_HOSTS=a:2,b:2 -H a:2,b:2 ...`),
  or from the platform below: SageMaker, Azure, PBS, LSF, Grid Engine, Slurm, Kubeflow's MPIJob.

The tasks must fill one host after the other (mpirun's --map-by slot). Every task compares its own number
on its host with that, and says so where it is otherwise.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from tfdml.cluster import hosts as host_lists
from tfdml.cluster import roles
from tfdml.cluster.hosts import Host
from tfdml.cluster.nodelist import expand_nodelist
from tfdml.cluster.own_host import find_own
from tfdml.cluster.resolver import DEFAULT_PORT, Place, Surroundings, shortened
from tfdml.errors import ClusterError

# Name; number of this process; number of all; the same on this host.
_LAUNCHERS = (
    (
        "Open MPI",
        ("OMPI_COMM_WORLD_RANK",),
        ("OMPI_COMM_WORLD_SIZE",),
        ("OMPI_COMM_WORLD_LOCAL_RANK",),
        ("OMPI_COMM_WORLD_LOCAL_SIZE",),
    ),
    (
        "MVAPICH2",
        ("MV2_COMM_WORLD_RANK",),
        ("MV2_COMM_WORLD_SIZE",),
        ("MV2_COMM_WORLD_LOCAL_RANK",),
        ("MV2_COMM_WORLD_LOCAL_SIZE",),
    ),
    (
        "the MPI launcher",  # Hydra (MPICH, Intel MPI) or Cray's PALS.
        ("PMI_RANK",),
        ("PMI_SIZE",),
        ("MPI_LOCALRANKID", "PMI_LOCAL_RANK"),
        ("MPI_LOCALNRANKS", "PMI_LOCAL_SIZE"),
    ),
)
_JOB_IDS = ("PMIX_NAMESPACE", "PBS_JOBID", "LSB_JOBID", "SLURM_JOB_ID", "OMPI_MCA_orte_hnp_uri")
_REMEDY = "set TFDML_HOSTS=a:2,b:2 (mpirun -x TFDML_HOSTS) to the hosts in mpirun's order"


@dataclass(frozen=True)
class Ranks:
    """What a launcher says: this process's number and the number of all, and both on this host."""

    launcher: str
    own: int
    total: int
    local: int | None
    local_total: int | None


def find(around: Surroundings) -> Place | str:
    """The place of a task that an MPI launcher started. Raises `ClusterError`."""
    ranks = read_ranks(around)
    if ranks is None:
        return (
            "no variables of an MPI launcher (OMPI_COMM_WORLD_SIZE, PMI_SIZE, MV2_COMM_WORLD_SIZE)"
        )
    if _srun_started_it(ranks, around):
        return "srun started this process, and Slurm knows the hosts"
    if ranks.total == 1:
        return Place()
    if ranks.local_total == ranks.total:
        hosts: Sequence[Host] = [Host("127.0.0.1", ranks.total)]
    else:
        hosts = _hosts_of(ranks, around)
    addresses = host_lists.addresses_of(hosts, _first_port(around))
    return Place(roles.assign(addresses, ranks.own, around))


def read_ranks(around: Surroundings) -> Ranks | None:
    for name, own, total, local, local_total in _LAUNCHERS:
        if around.text(*own) and around.text(*total):
            ranks = Ranks(
                name,
                around.number(*own) or 0,
                around.number(*total, lowest=1) or 1,
                around.number(*local),
                around.number(*local_total, lowest=1),
            )
            if ranks.own >= ranks.total:
                raise ClusterError(
                    f"{own[0]}={ranks.own}, but {total[0]}={ranks.total}: it must be from 0 to "
                    f"{ranks.total - 1}. Unset what another job left in the environment."
                )
            return ranks
    return None


def _srun_started_it(ranks: Ranks, around: Surroundings) -> bool:
    """Whether the numbers are those of a step of Slurm, and not of a launcher inside of one."""
    return (
        around.number("SLURM_STEP_NUM_TASKS") == ranks.total
        and around.number("SLURM_PROCID") == ranks.own
    )


def _hosts_of(ranks: Ranks, around: Surroundings) -> list[Host]:
    """The hosts with the number of tasks that each of them has."""
    source, listed = _listed_hosts(around)
    if not listed:
        raise ClusterError(
            f"{ranks.launcher} started {ranks.total} tasks on several hosts, and does not tell them "
            f"the names of the hosts: {_REMEDY}."
        )
    slots = [host.slots for host in listed]
    candidates = []
    if sum(slots) >= ranks.total:
        candidates.append(_filled(slots, ranks.total))
    # Without slots, or with more than tasks, the hosts may as well have equally many.
    if sum(slots) != ranks.total and ranks.total % len(listed) == 0:
        even = [ranks.total // len(listed)] * len(listed)
        candidates += [even] if even not in candidates else []
    own_host = find_own([host.name for host in listed], around)
    fitting = [counts for counts in candidates if _fits(counts, ranks, own_host)]
    if len(fitting) != 1:
        raise ClusterError(
            f"the hosts in {source} ({_shown(listed)}) do not say where the {ranks.total} tasks are: "
            f"task {ranks.own} is number {_or_unknown(ranks.local)} of "
            f"{_or_unknown(ranks.local_total)} on its host. "
            f"Fill one host after the other (--map-by slot), and {_REMEDY}."
        )
    return [
        Host(host.name, count) for host, count in zip(listed, fitting[0], strict=True) if count > 0
    ]


def _filled(slots: Sequence[int], total: int) -> list[int]:
    counts: list[int] = []
    for slot in slots:
        counts.append(min(slot, total - sum(counts)))
    return counts


def _fits(counts: Sequence[int], ranks: Ranks, own_host: int | None) -> bool:
    host, before = 0, 0
    while before + counts[host] <= ranks.own:
        before += counts[host]
        host += 1
    return (
        (ranks.local is None or ranks.local == ranks.own - before)
        and (ranks.local_total is None or ranks.local_total == counts[host])
        and (own_host is None or own_host == host)
    )


def _listed_hosts(around: Surroundings) -> tuple[str, Sequence[Host]]:
    """Where a list of hosts is, and the hosts; none where nobody has one."""
    own = host_lists.listed(around)
    if own is not None:
        name = host_lists.LIST_VARIABLE
        return (name if around.text(name) else host_lists.FILE_VARIABLE), own
    if text := around.text("SM_HOSTS"):
        try:
            return "SM_HOSTS", [Host(str(name)) for name in json.loads(text)]
        except (ValueError, TypeError):
            raise ClusterError(f"SM_HOSTS must be a JSON list, got {shortened(text)!r}.") from None
    if text := around.text("AZ_BATCH_HOST_LIST", "AZ_BATCH_NODE_LIST"):
        return "AZ_BATCH_HOST_LIST", [Host(name) for name in text.replace(";", ",").split(",")]
    for variable in ("PBS_NODEFILE", "LSB_DJOB_HOSTFILE", "PE_HOSTFILE"):
        path = around.text(variable)
        content = around.read(path) if path else None
        if content:
            if variable == "PE_HOSTFILE":  # Lines of: host, slots, queue, processors.
                rows = [line.split() for line in content.splitlines() if line.strip()]
                content = "\n".join(":".join(row[:2]) for row in rows)
            return variable, host_lists.parse_file(content, path)
    if text := around.text("SLURM_JOB_NODELIST", "SLURM_NODELIST"):
        return "SLURM_JOB_NODELIST", [Host(name) for name in expand_nodelist(text)]
    if around.text("KUBERNETES_SERVICE_HOST"):  # Where an MPIJob's launcher mounts its list.
        content = around.read("/etc/mpi/hostfile")
        if content:
            return "/etc/mpi/hostfile", host_lists.parse_file(content, "/etc/mpi/hostfile")
    return "", ()


def _first_port(around: Surroundings) -> int:
    """The same for every task of a job, and most likely another for each job on a host."""
    job = around.text(*_JOB_IDS)
    return around.port(12000 + 32 * (zlib.crc32(job.encode()) % 512) if job else DEFAULT_PORT)


def _shown(hosts: Sequence[Host]) -> str:
    return shortened(",".join(f"{host.name}:{host.slots}" for host in hosts), 60)


def _or_unknown(number: int | None) -> str:
    return "unknown" if number is None else str(number)
