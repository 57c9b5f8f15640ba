"""A process that saves step after step and says so, for tests that end it at any moment; no TensorFlow.

python saving_process.py DIRECTORY TASK NUM_TASKS SIZE LAST_STEP [MEETING]

Tasks of several processes exchange numbers through files in MEETING. It prints a line for each step that it
knows to be saved.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.checkpoint.jobs import at, contents, same_as_saved
from tfdml.checkpoint import Snapshots


def through_files(folder: Path, task: int, num_tasks: int) -> Callable[[float], list[float]]:
    """An exchange of numbers for processes; gives up when nobody has come for a minute."""
    turn = 0

    def exchange(number: float) -> list[float]:
        nonlocal turn
        turn += 1
        temporary = folder / f".{turn}-{task}"
        temporary.write_text(repr(number))
        temporary.rename(folder / f"{turn}-{task}")
        numbers, give_up = [], time.monotonic() + 60
        for other in range(num_tasks):
            while not (path := folder / f"{turn}-{other}").exists():
                if time.monotonic() > give_up or os.getppid() == 1:
                    raise SystemExit(3)
                time.sleep(0.0005)
            numbers.append(float(path.read_text()))
        return numbers

    return exchange


def main() -> None:
    directory, task, num_tasks, size, last = sys.argv[1], *map(int, sys.argv[2:6])
    snapshots = Snapshots(directory)
    if num_tasks == 1:
        snapshots.start()
    else:
        exchange = through_files(Path(sys.argv[6]), task, num_tasks)
        snapshots.start(task=task, num_tasks=num_tasks, of_each=exchange)
    restored = snapshots.restore()
    step = 0
    if restored is not None:
        assert same_as_saved(restored, size), "a torn snapshot was restored"
        step = restored.position.global_step
    print("restored", step, flush=True)
    while step < last:
        step += 1
        snapshots.begin(at(step), contents(step, task, size))
        outcome = snapshots.wait()
        assert outcome is not None and outcome.saved, outcome
        print("saved", step, flush=True)
    if len(sys.argv) > 7 and sys.argv[7] == "leave-while-writing":
        snapshots.begin(at(step + 1), contents(step + 1, task, size))


if __name__ == "__main__":
    main()
