"""Generated files on a real Slurm: what a job's tasks end with is what the job ends with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.jobs import lines, write

pytestmark = pytest.mark.slow

# Task 1 fails with 7; task 0 notices and fails with 1, and would take SIGTERM for preemption.
ONE_FAILS = """
    import os, signal, sys, time

    if os.environ["SLURM_PROCID"] == "1":
        sys.exit(7)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(42))
    time.sleep(float(sys.argv[1]))
    print("lost a peer")
    sys.exit(1)
"""


def test_a_failure_of_one_task_is_not_taken_for_preemption(
    slurm_cluster: Cluster, tmp_path: Path
) -> None:
    """With KillOnBadExit=1 in slurm.conf, which the cluster has, srun alone would return 42."""
    file = write(tmp_path, ONE_FAILS, "3")
    alone = slurm_cluster.attempt("srun", "--ntasks=2", "python", "script.py", "20", cwd=tmp_path)
    assert alone.returncode == 42
    facts = slurm_cluster.wait(slurm_cluster.submit(file))
    assert (facts["JobState"], facts["Restarts"], facts["ExitCode"]) == ("FAILED", "0", "7:0")
    assert "0: lost a peer" in lines(tmp_path)


def test_a_task_that_does_not_notice_is_killed(slurm_cluster: Cluster, tmp_path: Path) -> None:
    file = write(tmp_path, ONE_FAILS, "600")
    text = file.read_text()
    assert text.count("--wait=300") == 1
    file.write_text(text.replace("--wait=300", "--wait=2"))
    facts = slurm_cluster.wait(slurm_cluster.submit(file))
    assert (facts["JobState"], facts["Restarts"], facts["ExitCode"]) == ("FAILED", "0", "137:0")
    assert any("task 1: Exited with exit code 7" in line for line in lines(tmp_path))


def test_success(slurm_cluster: Cluster, tmp_path: Path) -> None:
    facts = slurm_cluster.wait(slurm_cluster.submit(write(tmp_path, "print('hello')", workers=3)))
    assert (facts["JobState"], facts["ExitCode"]) == ("COMPLETED", "0:0")
    assert lines(tmp_path) == ["0: hello", "1: hello", "2: hello"]


def test_the_job_has_what_the_file_asks_for(slurm_cluster: Cluster, tmp_path: Path) -> None:
    settings = {"cpus_per_worker": 3, "memory_gib_per_worker": 8, "time_limit_minutes": 1501}
    job = slurm_cluster.submit(write(tmp_path, "", name="digits", workers=3, **settings), "--hold")
    facts = slurm_cluster.facts(job)
    slurm_cluster.run("scancel", job)
    expected = {
        "JobName": "digits",
        "TimeLimit": "1-01:01:00",
        "Requeue": "1",
        "NumTasks": "3",
        "CPUs/Task": "3",
        "MinMemoryCPU": "2731M",
    }
    assert {name: facts[name] for name in expected} == expected


def test_an_environment_without_tfdml_is_told(slurm_cluster: Cluster, tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    file = write(tmp_path, "")
    path = f"PATH={python.parent}:{slurm_cluster.environ['PATH']}"
    facts = slurm_cluster.wait(slurm_cluster.submit(file, f"--export=ALL,{path}"))
    assert facts["ExitCode"] == "1:0"
    (line,) = lines(tmp_path)
    assert line.startswith(f"{python} on ") and "cannot import tfdml: activate" in line


def test_shared_storage_that_is_not_there_is_told(slurm_cluster: Cluster, tmp_path: Path) -> None:
    file = write(tmp_path, "", volume=str(tmp_path / "no such $place"))
    facts = slurm_cluster.wait(slurm_cluster.submit(file))
    assert facts["ExitCode"] == "1:0"
    (line,) = lines(tmp_path)
    assert line.startswith(f"{tmp_path}/no such $place is not a directory on ")


# Everything that a shell, sbatch or srun could take for something else.
ARGUMENTS = (
    "plain",
    "",
    "two words",
    "$HOME ${x} $(id) `id` $((1))",
    'it\'s "quoted"',
    "back\\slash \\n \\",
    "a\nb",
    "x\r\ny",
    "\n#SBATCH --ntasks=64",
    "#SBATCH --ntasks=64",
    "*",
    "~",
    "[0]=x",
    "{a,b}",
    "!x ; exit 3 & | > /dev/null",
    "\t\x01\x7f\x1b[31m0",
    "naïve 数 ‘quotes’ “more” \u2028 \xa0 é",
    "--help",
    "%x-%j",
)


def test_arguments_arrive_as_they_are(slurm_cluster: Cluster, tmp_path: Path) -> None:
    script = "import json, sys; open('arguments', 'w').write(json.dumps(sys.argv[1:]))"
    facts = slurm_cluster.wait(slurm_cluster.submit(write(tmp_path, script, *ARGUMENTS, workers=1)))
    assert (facts["JobState"], facts["NumTasks"]) == ("COMPLETED", "1"), lines(tmp_path)
    assert tuple(json.loads((tmp_path / "arguments").read_text())) == ARGUMENTS
