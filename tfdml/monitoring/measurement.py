"""What is measured in one execution of all replicas, as the one vector of numbers that each of them sends.

[HEAD, host facts, rates of links, rows of steps], float64, on every replica of the same length. `stamps.py` fills it
inside the graph, `anatomy.py` reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Steps of one execution that are kept; those of longer ones are not looked at.
MAX_ROWS = 32

HEAD = ("graph_begin", "read_entry", "read_exit", "hash_high", "hash_low", "steps")

# Of the process, written down before the execution. Seconds, bytes and counts are those since the last measured one.
FACTS = (
    "seconds",
    "cpu_seconds",
    "run_queue_seconds",
    "involuntary_switches",
    "steal_seconds",
    "other_cpu_seconds",
    "cores",
    "memory_bytes",
    "sent_bytes",  # to tasks on other hosts
)
HOST = ("returned", "clock", *FACTS)

# Of one step on one replica; seconds since 1970 of the host's clock, 0 where nothing happened.
ROW = (
    "input_begin",
    "input_end",
    "compute_begin",
    "entry",  # the last gradient is there, and the exchange waits for the other replicas
    "exit",  # all sums are there
    "update_begin",
    "step_end",
    "gradient_norm",
    "clipped",
)


@dataclass(frozen=True)
class Measurement:
    """One measured execution.

    Attributes:
        numbers: [num_replicas, length], the same on every task.
        num_tasks: which have the same number of replicas each, in their order.
    """

    numbers: np.ndarray
    num_tasks: int

    def head(self, name: str) -> np.ndarray:
        """[num_replicas]."""
        return self.numbers[:, HEAD.index(name)]

    def host(self, name: str) -> np.ndarray:
        """[num_tasks]."""
        return self.numbers[:: self.replicas_per_task, len(HEAD) + HOST.index(name)]

    @property
    def replicas_per_task(self) -> int:
        return len(self.numbers) // self.num_tasks

    @property
    def link_rates(self) -> np.ndarray:
        """[num_tasks, num_tasks]: bytes/s at which one could last send to the other; 0 unknown."""
        begin = len(HEAD) + len(HOST)
        return self.numbers[:: self.replicas_per_task, begin : begin + self.num_tasks]

    @property
    def num_steps(self) -> int:
        """How many steps the execution had."""
        return int(self.head("steps")[0])

    def rows(self, name: str) -> np.ndarray:
        """[num_replicas, steps]: of the steps that were kept."""
        begin = len(HEAD) + len(HOST) + self.num_tasks
        rows = self.numbers[:, begin:].reshape(len(self.numbers), -1, len(ROW))
        return rows[:, : min(self.num_steps, rows.shape[1]), ROW.index(name)]

    @property
    def hashes(self) -> np.ndarray:
        """[num_replicas, 2]: of all variables of each replica."""
        return self.numbers[:, [HEAD.index("hash_high"), HEAD.index("hash_low")]]
