"""A job step of Slurm: `srun` starts every task, and says in SLURM_* where they all are.

In the batch script and in the shell of `salloc` the job is there but no step: one process, whatever the
job was given. That is an error where the job has several tasks or nodes, since it would train alone.

Ports: those of `srun --resv-ports`; else TFDML_CLUSTER_PORT; else 32 of them per step from a first one
that follows from the job's id, so that every task works out the same and jobs that share a node differ.
"""

from __future__ import annotations

from collections.abc import Sequence

from tfdml.cluster import roles
from tfdml.cluster.nodelist import expand_counts, expand_nodelist, expand_ranges
from tfdml.cluster.resolver import PORT_VARIABLE, Place, Surroundings, address
from tfdml.errors import ClusterError

# Below 32768, where Linux takes ports of its own choice from, up to 28383.
_FIRST_PORT, _PORTS_PER_STEP, _STEPS = 12000, 32, 512
_REMEDY = "start it with srun, or set TFDML_CLUSTER=local to train on this process alone"


def find(around: Surroundings) -> Place | str:
    """The place of a task that srun started. Raises `ClusterError`."""
    job = around.number("SLURM_JOB_ID", "SLURM_JOBID")
    if job is None:
        return "SLURM_JOB_ID is not set"
    if not around.text("SLURM_STEP_ID", "SLURM_STEPID", "SLURM_STEP_NODELIST"):
        return _outside_of_a_step(job, around)
    nodes, counts = nodes_and_counts(around)
    own = around.number("SLURM_PROCID")
    if own is None:
        raise ClusterError(f"SLURM_PROCID, this task's number, is missing in job {job}: {_REMEDY}.")
    node_of = _layout(counts, around)
    _check_own(own, node_of, nodes, around)
    ports = _ports(job, max(counts), around)
    used = [0] * len(nodes)
    addresses = []
    for node in node_of:
        addresses.append(address(nodes[node], ports[used[node]]))
        used[node] += 1
    local_index = node_of[:own].count(node_of[own])
    cluster = roles.assign(addresses, own, around)
    return Place(cluster, gpus=_gpus(counts[node_of[own]], local_index, around))


def nodes_and_counts(around: Surroundings) -> tuple[list[str], list[int]]:
    """The step's nodes, and how many tasks each of them has."""
    name = _first_set(around, "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
    nodes = expand_nodelist(around.text(name), name)
    counts_name = _first_set(around, "SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE")
    counts = expand_counts(around.text(counts_name), counts_name)
    if len(nodes) != len(counts):
        raise ClusterError(
            f"{name} names {len(nodes)} node(s) and {counts_name} counts the tasks of {len(counts)}: "
            f"{around.text(name)!r} and {around.text(counts_name)!r}. Both must be of one step; "
            "unset what another job left in the environment."
        )
    total = around.number("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS")
    if total is not None and total != sum(counts):
        raise ClusterError(
            f"{counts_name}={around.text(counts_name)} makes {sum(counts)} task(s), but the step has "
            f"{total}: unset what another job left in the environment."
        )
    return nodes, counts


def _first_set(around: Surroundings, *names: str) -> str:
    name = next((name for name in names if around.text(name)), None)
    if name is None:
        raise ClusterError(
            f"a step of Slurm is there (SLURM_STEP_ID) but none of {', '.join(names)}: "
            "pass Slurm's variables on to the program, also into a container."
        )
    return name


def _outside_of_a_step(job: int, around: Surroundings) -> str:
    tasks = around.number("SLURM_NTASKS", "SLURM_NPROCS") or 1
    nodes = around.number("SLURM_JOB_NUM_NODES", "SLURM_NNODES") or 1
    if max(tasks, nodes) > 1:
        raise ClusterError(
            f"job {job} of Slurm has {tasks} task(s) on {nodes} node(s), but srun did not start this "
            f"process, so it would train alone: {_REMEDY}."
        )
    return f"srun did not start this process (SLURM_STEP_ID is not set), and job {job} has one task"


def _layout(counts: Sequence[int], around: Surroundings) -> list[int]:
    """The node of each task. Without --distribution srun fills one node after the other."""
    kind = around.text("SLURM_DISTRIBUTION").partition(":")[0].partition(",")[0].lower()
    # --distribution=pack or nopack says how many tasks a node has, and leaves their order alone.
    if kind in ("", "block", "pack", "nopack") or max(counts) == 1:
        run = max(counts)
    elif kind == "cyclic":
        run = 1
    elif kind == "plane":
        run = around.number("SLURM_DIST_PLANESIZE", lowest=1) or 1
    else:
        raise ClusterError(
            f"SLURM_DISTRIBUTION must be block, cyclic or plane, got {kind!r}: the nodes of the "
            "tasks do not follow from it. Use srun --distribution=block."
        )
    left = list(counts)
    node_of: list[int] = []
    while any(left):
        for node, remaining in enumerate(left):
            taken = min(run, remaining)
            node_of.extend([node] * taken)
            left[node] -= taken
    return node_of


def _check_own(
    own: int, node_of: Sequence[int], nodes: Sequence[str], around: Surroundings
) -> None:
    """Slurm says of this task where it is: that must be where the layout has it."""
    if own >= len(node_of):
        raise ClusterError(
            f"SLURM_PROCID={own}, but the step has {len(node_of)} task(s): it must be from 0 to "
            f"{len(node_of) - 1}. Unset what another job left in the environment."
        )
    # The components of a heterogeneous job number their nodes in an order of their own; only the name
    # shows that to a task whose numbers happen to agree.
    facts = {
        "SLURM_NODEID": str(node_of[own]),
        "SLURM_LOCALID": str(node_of[:own].count(node_of[own])),
        "SLURMD_NODENAME": nodes[node_of[own]],
    }
    for name, expected in facts.items():
        found = around.text(name)
        if found and found != expected:
            raise ClusterError(
                f"{name}={found}, but task {own} should have {expected} by SLURM_TASKS_PER_NODE and "
                f"SLURM_DISTRIBUTION={around.text('SLURM_DISTRIBUTION') or 'block'}: "
                "use srun --distribution=block, and one component of a heterogeneous job."
            )


def _ports(job: int, count: int, around: Surroundings) -> Sequence[int]:
    """The ports of a node's tasks, in their order."""
    reserved = around.text("SLURM_STEP_RESV_PORTS")
    if reserved and not around.text(PORT_VARIABLE):
        ports = expand_ranges(reserved, "SLURM_STEP_RESV_PORTS")
        if len(ports) >= count:
            return ports
    # Prime to the number of slots, so that steps of one job that run together differ too.
    step = around.text("SLURM_STEP_ID", "SLURM_STEPID")
    slot = (job + 101 * (int(step) if step.isdigit() else 0)) % _STEPS
    first = around.port(_FIRST_PORT + _PORTS_PER_STEP * slot)
    return range(first, first + count)


def _gpus(tasks_on_node: int, local_index: int, around: Surroundings) -> tuple[str, ...] | None:
    """This task's GPUs by what Slurm says; nobody asks a driver, and nothing is set.

    Where a node's tasks see the same GPUs and these divide evenly, each gets its share in turn.
    Where Slurm sets no CUDA_VISIBLE_DEVICES, as with GPUs that gres.conf names no files of, they do,
    with --gpus-per-task too.
    """
    per_node = around.text("SLURM_GPUS_ON_NODE")
    on_node = int(per_node) if per_node.isdigit() else None
    visible = _visible(around)
    if visible is None:
        if on_node is None:
            return None
        visible = tuple(str(index) for index in range(on_node))
    bound = "CUDA_VISIBLE_DEVICES" in around.environ and (
        bool(around.text("SLURM_GPUS_PER_TASK")) or (on_node is not None and len(visible) < on_node)
    )
    if bound or tasks_on_node == 1:
        return visible
    share, rest = divmod(len(visible), tasks_on_node)
    if rest:
        return None
    return visible[local_index * share : (local_index + 1) * share]


def _visible(around: Surroundings) -> tuple[str, ...] | None:
    if "CUDA_VISIBLE_DEVICES" not in around.environ:
        return None
    entries = [each.strip() for each in around.environ["CUDA_VISIBLE_DEVICES"].split(",")]
    # As in CUDA, the list ends at the first entry that is no device; Slurm writes NoDevFiles.
    ends = (i for i, each in enumerate(entries) if each in ("", "-1", "NoDevFiles"))
    return tuple(entries[: next(ends, len(entries))])
