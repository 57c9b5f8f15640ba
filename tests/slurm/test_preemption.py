"""Generated files on a real Slurm: SIGTERM, status 42, and the way back into the queue."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.jobs import lines, wait_for, write

pytestmark = pytest.mark.slow

# Saves when it gets SIGTERM, says so and exits 42; run again as often as its argument says, ends with 0.
PREEMPTIBLE = """
    import os, signal, sys, time

    task, run = os.environ["SLURM_PROCID"], int(os.environ.get("SLURM_RESTART_COUNT", 0))
    if run == int(sys.argv[1]):
        print(f"run {run} goes on from {open('saved-' + task).read()}")
        sys.exit(0)

    def save(*_):
        with open(f"saved-{task}", "w") as file:
            file.write(f"run {run}")
        print(f"run {run} has saved")
        sys.exit(42)

    signal.signal(signal.SIGTERM, save)
    open(f"ready-{run}-{task}", "w").close()
    time.sleep(600)
"""


def ready(directory: Path, run: int = 0, tasks: int = 2) -> list[Path]:
    return [directory / f"ready-{run}-{task}" for task in range(tasks)]


def test_a_job_that_is_told_to_save_runs_again_and_completes(
    slurm_cluster: Cluster, tmp_path: Path
) -> None:
    job = slurm_cluster.submit(write(tmp_path, PREEMPTIBLE, "1"))
    wait_for(slurm_cluster, job, *ready(tmp_path))
    slurm_cluster.run("scancel", "--signal=TERM", job)
    facts = slurm_cluster.wait(job)
    assert (facts["JobState"], facts["Restarts"], facts["ExitCode"]) == ("COMPLETED", "1", "0:0")
    printed = lines(tmp_path)
    for line in ("run 0 has saved", "run 1 goes on from run 0"):
        assert [f"0: {line}", f"1: {line}"] == [each for each in printed if line in each]
    assert printed.count("preempted: restart 1 of at most 10") == 1


def test_tasks_save_before_the_time_limit_in_every_run(
    slurm_cluster: Cluster, tmp_path: Path
) -> None:
    file = write(tmp_path, PREEMPTIBLE, "2", time_limit_minutes=1, save_seconds=55)
    facts = slurm_cluster.wait(slurm_cluster.submit(file), seconds=240)
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "2")
    printed = lines(tmp_path)
    assert [line for line in printed if line.startswith("preempted")] == [
        "preempted: restart 1 of at most 10",
        "preempted: restart 2 of at most 10",
    ]
    assert "0: run 2 goes on from run 1" in printed


def test_a_job_that_must_make_room_for_another_comes_back(
    slurm_cluster: Cluster, tmp_path: Path
) -> None:
    job = slurm_cluster.submit(write(tmp_path, PREEMPTIBLE, "1"), "--exclusive", "--nodes=2")
    wait_for(slurm_cluster, job, *ready(tmp_path))
    urgent = ("--partition=urgent", "--exclusive", "--nodes=2", "--output=/dev/null")
    slurm_cluster.run("sbatch", "--wait", *urgent, "--wrap=true")
    facts = slurm_cluster.wait(job)
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "1")
    assert "1: run 1 goes on from run 0" in lines(tmp_path)


def test_a_job_that_is_cancelled_stays_away(slurm_cluster: Cluster, tmp_path: Path) -> None:
    job = slurm_cluster.submit(write(tmp_path, PREEMPTIBLE, "1"))
    wait_for(slurm_cluster, job, *ready(tmp_path))
    slurm_cluster.run("scancel", job)
    facts = slurm_cluster.wait(job)
    assert (facts["JobState"], facts["Restarts"]) == ("CANCELLED", "0")
    # The tasks did save and exit 42: only the batch script was not there any more to act on it.
    assert "0: run 0 has saved" in lines(tmp_path)


def test_restarts_are_counted(slurm_cluster: Cluster, tmp_path: Path) -> None:
    job = slurm_cluster.submit(write(tmp_path, PREEMPTIBLE, "5", max_restarts=1))
    for run in (0, 1):
        wait_for(slurm_cluster, job, *ready(tmp_path, run))
        slurm_cluster.run("scancel", "--signal=TERM", job)
    facts = slurm_cluster.wait(job)
    assert (facts["JobState"], facts["Restarts"], facts["ExitCode"]) == ("FAILED", "1", "42:0")
    last = "preempted after 1 restart(s), and 1 are allowed: sbatch this file to go on"
    assert lines(tmp_path).count(last) == 1


# The chief saves and exits 42, the others do not know what SIGTERM is, and never end by themselves.
LED = """
    import os, signal, sys, time

    task, run = int(os.environ["SLURM_PROCID"]), int(os.environ.get("SLURM_RESTART_COUNT", 0))
    if task >= int(sys.argv[1]):
        open(f"ready-{run}-{task}", "w").close()
        for _ in range(600):
            time.sleep(0.5)
            open(f"alive-{task}", "w").close()
    if run:
        sys.exit(int(sys.argv[2]))

    def save(*_):
        # A parameter server that went with SIGTERM would not be there to be saved.
        for helper in range(int(sys.argv[1]), int(os.environ["SLURM_NTASKS"])):
            if os.path.exists(f"alive-{helper}"):
                os.remove(f"alive-{helper}")
            deadline = time.monotonic() + 30
            while not os.path.exists(f"alive-{helper}"):
                if time.monotonic() > deadline:
                    sys.exit(f"task {helper} is gone")
                time.sleep(0.1)
        print(f"{task} has saved")
        sys.exit(42)

    signal.signal(signal.SIGTERM, save)
    open(f"ready-{run}-{task}", "w").close()
    time.sleep(600)
"""


@pytest.mark.parametrize("status", [0, 3])
@pytest.mark.parametrize(
    ("tasks", "num_tasks", "first_helper"),
    [({"workers": 1, "ps": 2}, 4, 1), ({"workers": 2, "evaluator": True}, 3, 2)],
)
def test_the_chief_decides_where_other_tasks_serve(
    tasks: dict,
    num_tasks: int,
    first_helper: int,
    status: int,
    slurm_cluster: Cluster,
    tmp_path: Path,
) -> None:
    file = write(tmp_path, LED, str(first_helper), str(status), **tasks)
    text = file.read_text()
    assert text.count("sleep 10\n") == 1
    file.write_text(text.replace("sleep 10\n", "sleep 1\n"))
    job = slurm_cluster.submit(file)
    wait_for(slurm_cluster, job, *ready(tmp_path, 0, num_tasks))
    slurm_cluster.run("scancel", "--signal=TERM", job)
    facts = slurm_cluster.wait(job)
    assert (facts["JobState"], facts["Restarts"], facts["ExitCode"]) == (
        "FAILED" if status else "COMPLETED",
        "1",
        f"{status}:0",
    )
    saved = [line for line in lines(tmp_path) if line.endswith("has saved")]
    assert saved == [f"{task}: {task} has saved" for task in range(first_helper)]
