"""Which of the tasks that a platform numbers from 0 are workers, and which are something else.

Slurm, MPI and plain hosts know tasks, but no types of task. Three variables say more, the same for every
task of the job: TFDML_CLUSTER_PS, how many tasks are parameter servers, TFDML_CLUSTER_EVALUATOR, 1 where
there is one, and TFDML_CLUSTER_CHIEF, 1 where task 0 is a chief beside the workers, which it is with
parameter servers in any case unless this is 0. Then come the workers, then the parameter servers, and the
last task is the evaluator.
"""

from __future__ import annotations

from collections.abc import Sequence

from tfdml.cluster.resolver import Surroundings
from tfdml.cluster.spec import ClusterSpec
from tfdml.errors import ClusterError

PS_VARIABLE = "TFDML_CLUSTER_PS"
EVALUATOR_VARIABLE = "TFDML_CLUSTER_EVALUATOR"
CHIEF_VARIABLE = "TFDML_CLUSTER_CHIEF"


def assign(addresses: Sequence[str], position: int, around: Surroundings) -> ClusterSpec:
    """The cluster of tasks with these addresses, seen by the task at `position`.

    A single task is `ClusterSpec.local()`: it needs no cluster.
    """
    num_ps = around.number(PS_VARIABLE) or 0
    num_evaluators = around.number(EVALUATOR_VARIABLE, highest=1) or 0
    asked_chiefs = around.number(CHIEF_VARIABLE, highest=1)
    num_chiefs = (1 if num_ps else 0) if asked_chiefs is None else asked_chiefs
    num_workers = len(addresses) - num_chiefs - num_ps - num_evaluators
    if num_workers < 1:
        raise ClusterError(
            f"{PS_VARIABLE}={num_ps} and {EVALUATOR_VARIABLE}={num_evaluators} leave no worker: the "
            f"job has {len(addresses)} task(s)"
            + (", of which the first is the chief" if num_chiefs else "")
            + ". Start more tasks, or lower them."
        )
    if not 0 <= position < len(addresses):
        raise ClusterError(
            f"this is task {position}, but the job has {len(addresses)} task(s): it must be from 0 "
            f"to {len(addresses) - 1}."
        )
    if len(addresses) == 1:
        return ClusterSpec.local()
    counts = {"chief": num_chiefs, "worker": num_workers, "ps": num_ps, "evaluator": num_evaluators}
    jobs: dict[str, tuple[str, ...]] = {}
    own = ("worker", position)
    first = 0
    for job, count in counts.items():
        if count:
            jobs[job] = tuple(addresses[first : first + count])
            if first <= position < first + count:
                own = (job, position - first)
        first += count
    return ClusterSpec(jobs, *own)
