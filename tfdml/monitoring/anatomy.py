"""Where the time of a step goes on every task, from times that were taken inside it.

A measured execution notes these times on every replica (`stamps.py`); each part is the difference of two times that
belong to it alone:

    input          from before the iterator is asked until the slice is there
    computing      from the slice to the last gradient (entry); from the sums (exit) to the last update
    waiting        from this replica's entry to the last one's, by one clock (`clocks.py`)
    communicating  from the last replica's entry to this one's exit, with encoding and decoding
    host           from the return of the execution before, in Python, to the beginning of the graph: callbacks,
                   files, and what it takes to call TensorFlow
    unexplained    the rest of the time from that return to the end of this execution: TensorFlow's own loop, and
                   whatever nobody thought of. Parts do not share the times at their ends, so that nothing is
                   explained by being next to something that is.

Why waiting is split off so: an exchange ends for nobody before the last replica has entered it, so that what an
early one spends up to there is the slow one's doing, and the rest is the exchange's. The time of entry does not
hold anything up: where the first bucket travels while gradients of the next are still computed, that is hidden
behind computing, and counts as computing. The metrics' all-reduce at the end of an execution is split alike.

A device that works through a queue of its own (GPU, TPU) has not done what its host has asked for, so that none
of these times say anything about it: `parts` then has None for computing, waiting and communicating.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfdml.monitoring.clocks import Clocks
from tfdml.monitoring.measurement import FACTS, Measurement
from tfdml.monitoring.records import Anatomy, TaskAnatomy


class AnatomyReader:
    """Makes an `Anatomy` of every measurement.

    Args:
        tasks: their names, in the order of their replicas.
        on_host: whether replicas compute on the CPU, whose times the host knows.
    """

    def __init__(self, tasks: Sequence[str], *, on_host: bool):
        self._tasks = tuple(tasks)
        self._on_host = on_host
        self._clocks = Clocks()

    def read(self, measured: Measurement, *, step: int, epoch: int) -> Anatomy:
        """Of the execution that ended at `step`."""
        of_task = measured.replicas_per_task
        steps = measured.num_steps
        rows = {name: measured.rows(name) for name in ("entry", "exit")}
        # An accumulating step exchanges nothing.
        exchanged = (rows["entry"] > 0).all(axis=0) & (rows["exit"] > 0).all(axis=0)
        entries, exits = rows["entry"][:, exchanged], rows["exit"][:, exchanged]
        several = len(measured.numbers) > 1
        if several:
            entries = np.hstack([entries, measured.head("read_entry")[:, None]])
            exits = np.hstack([exits, measured.head("read_exit")[:, None]])
        hosts = np.repeat(measured.host("clock"), of_task)
        offsets, error = self._clocks.update(entries, exits, hosts) if several else (0.0, 0.0)
        kept = measured.rows("step_end").shape[1]
        more = steps / kept if kept else 0.0  # for steps that were not kept, as for those that were

        last_entry = (entries - np.reshape(offsets, (-1, 1))).max(axis=0) if entries.size else 0.0
        waits = np.maximum(last_entry - (entries - np.reshape(offsets, (-1, 1))), 0.0)
        waits = np.minimum(waits, exits - entries)
        communicates = exits - entries - waits
        begin, end = measured.rows("compute_begin"), measured.rows("step_end")
        before = np.where(exchanged, rows["entry"], end) - begin
        after = np.where(exchanged, end - measured.rows("update_begin"), 0.0)
        weights = np.full(entries.shape[1], more)
        if several:
            weights[-1] = 1.0
        parts = {
            "input": more * (measured.rows("input_end") - measured.rows("input_begin")).sum(axis=1),
            "computing": more * (before + after).sum(axis=1),
            "waiting": (waits * weights).sum(axis=1),
            "communicating": (communicates * weights).sum(axis=1),
        }
        if not several:
            parts["computing"] = parts["computing"] + (
                measured.head("read_exit") - measured.head("read_entry")
            )
            parts["communicating"] = np.zeros(1)
        returned = np.repeat(measured.host("returned"), of_task)
        parts["host"] = measured.head("graph_begin") - returned
        whole = measured.head("read_exit") - returned

        def mean(values: np.ndarray, task: int) -> float:
            return float(values[task * of_task : (task + 1) * of_task].mean()) / max(steps, 1)

        found = []
        for number, name in enumerate(self._tasks):
            own: dict[str, float | None] = {part: mean(parts[part], number) for part in parts}
            seconds = mean(whole, number)
            own["unexplained"] = seconds - sum(value or 0.0 for value in own.values())
            if not self._on_host:
                known = (own["input"] or 0.0) + (own["host"] or 0.0)
                own |= {"computing": None, "waiting": None, "communicating": None}
                own["unexplained"] = seconds - known
            facts = {fact: float(measured.host(fact)[number]) for fact in FACTS}
            found.append(TaskAnatomy(name, seconds, own, facts))
        return Anatomy(step, epoch, tuple(found), error)
