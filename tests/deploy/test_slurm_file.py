"""The file for sbatch, without a Slurm: what it asks for, how it quotes, how it reacts to srun's status."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tfdml.deploy import Job, slurm
from tfdml.errors import ConfigError

VARIANTS: list[dict[str, Any]] = [
    {},
    {"workers": 64, "gpus_per_worker": 8, "port": 4000, "volume": "/scratch/it's $here"},
    {"workers": 4, "ps": 2, "gpus_per_worker": 1},
    {"workers": 4, "evaluator": True, "chief": True, "save_seconds": 0},
    {"workers": 4, "ps": 2, "evaluator": True, "max_restarts": 0},
]
# For arguments that mean something to bash, sbatch or shellcheck.
CHARACTERS = "ab01 '\"\\$`!*?[](){}<>|&;#~=%^,\t\r\n\x01\x1b\x7f‘“–é数\u2028\xa0\u200b"


def text_of(*command: str, **settings: Any) -> str:
    return slurm.generate(Job(command=command or ("train.py", "--model_dir=runs/a"), **settings))


def directives(text: str) -> dict[str, str]:
    return dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(.*))?$", text, re.M))


def test_what_it_asks_for() -> None:
    text = text_of(
        name="digits",
        workers=3,
        chief=True,
        gpus_per_worker=2,
        cpus_per_worker=6,
        memory_gib_per_worker=16,
        time_limit_minutes=1501,
        save_seconds=90,
        max_restarts=4,
        port=4000,
    )
    assert directives(text) == {
        "job-name": "digits",
        "ntasks": "4",
        "cpus-per-task": "6",
        "mem-per-cpu": "2731M",  # 16 GiB over 6 CPUs, rounded up.
        "gpus-per-task": "2",
        "time": "1-01:01:00",
        "signal": "TERM@90",
        "requeue": "",
        "open-mode": "append",
        "output": "%x-%j.log",
    }
    exports = dict(re.findall(r"^export (\w+)=(\S+)", text, re.M))
    assert exports == {
        "PYTHONUNBUFFERED": "1",
        "TF_ENABLE_ONEDNN_OPTS": "${TF_ENABLE_ONEDNN_OPTS:-1}",
        "TFDML_CLUSTER": "slurm",
        "TFDML_CLUSTER_CHIEF": "1",
        "TFDML_CLUSTER_PS": "0",
        "TFDML_CLUSTER_EVALUATOR": "0",
        "TFDML_CLUSTER_PORT": "4000",
    }
    assert "# In this order: 1 chief, 3 worker.\n" in text
    assert "--wait=300" in text and "$restarts -ge 4" in text


def test_what_is_left_out() -> None:
    text = text_of(workers=2, gpus_per_worker=0, save_seconds=0)
    assert {"gpus-per-task", "signal"}.isdisjoint(directives(text))
    assert "##SBATCH --signal=TERM@120\n" in text and "##SBATCH --gpus-per-task=1\n" in text
    assert "# export TFDML_CLUSTER_PORT=12345\n" in text
    assert "Worker 0 is the chief." in text


def test_tasks_have_as_long_to_follow_the_first_as_they_have_to_save() -> None:
    assert "--wait=900" in text_of(save_seconds=900)


def test_parameter_servers_hold_gpus_and_the_file_says_so() -> None:
    assert "hold GPUs too" in text_of(ps=2, gpus_per_worker=1)
    assert "hold GPUs too" not in text_of(gpus_per_worker=1)


def test_more_than_slurm_can_count_is_refused() -> None:
    assert "TERM@65535" in text_of(save_seconds=65535, time_limit_minutes=20_000)
    with pytest.raises(ConfigError, match=r"`save_seconds` must be at most 65535 .* got 65536"):
        text_of(save_seconds=65536, time_limit_minutes=20_000)


@pytest.mark.parametrize("settings", VARIANTS)
def test_sbatch_reads_all_directives(settings: dict[str, Any]) -> None:
    """It stops at the first line that is a command; and it refuses files with DOS line ends."""
    text = text_of("train.py", "x\r\n#SBATCH --ntasks=99\n", "#SBATCH --ntasks=99", **settings)
    lines = text.splitlines()
    assert lines[0] == "#!/bin/bash" and "\r" not in text and text.endswith("\n")
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert not any(line.startswith("#SBATCH") for line in lines[first_command:])
    assert directives(text)["ntasks"] == str(Job(command=("x",), **settings).num_tasks)
    assert max(map(len, lines)) <= 110


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("settings", VARIANTS)
def test_shellcheck_finds_nothing(settings: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "job.sbatch"
    rng = random.Random(0)
    for command in [("train.py", "--steps=5"), ("train.py", *arguments(rng, 30))]:
        file.write_text(text_of(*command, **settings))
        done = subprocess.run(["shellcheck", file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def arguments(rng: random.Random, count: int) -> list[str]:
    return ["".join(rng.choices(CHARACTERS, k=rng.randint(0, 12))) for _ in range(count)]


@pytest.mark.parametrize("seed", range(10))
def test_any_argument_is_one_word_of_bash(seed: int) -> None:
    command = ("train.py", *arguments(random.Random(seed), 40))
    text = text_of(*command)
    begin, end = text.index("command=("), text.index("\n)\n") + 3
    # One argument a line, whatever is in it.
    assert text[begin:end].count("\n") == len(command) + 2
    script = text[begin:end] + "printf '%s\\0' \"${command[@]}\"\n"
    done = subprocess.run(["bash"], input=script.encode(), capture_output=True, check=True)
    assert tuple(done.stdout.decode().split("\0")[:-1]) == command


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """Commands of the names that the file calls: srun ends as SRUN says, scontrol and scancel note their calls."""
    directory = tmp_path / "bin"
    directory.mkdir()
    scripts = {
        "srun": 'printf "%s\\n" "$@" >srun.called; shift 6; eval "$SRUN"',
        "scontrol": 'echo "$@" >>scontrol.called; exit "${SCONTROL:-0}"',
        "scancel": 'echo "$@" >scancel.called',
        "sleep": "true",
        "python": 'exit "${PYTHON:-0}"',
    }
    for name, script in scripts.items():
        (directory / name).write_text(f"#!/bin/bash\n{script}\n")
        (directory / name).chmod(0o755)
    return directory


def run(commands: Path, text: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "SLURM_JOB_ID": "77",
        "SLURM_STEP_ID": "0",
        "SLURM_NTASKS": "3",
        "SLURM_CPUS_PER_TASK": "4",
        **variables,
    }
    return subprocess.run(
        ["bash"],
        input=text,
        cwd=commands.parent,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("srun", "variables", "status", "requeues", "said"),
    [
        ("exit 0", {}, 0, 0, ""),
        ("exit 7", {}, 7, 0, ""),
        ("exit 143", {}, 143, 0, ""),
        ("exit 42", {}, 42, 1, "preempted: restart 1 of at most 3"),
        ("exit 42", {"SLURM_RESTART_COUNT": "2"}, 42, 1, "preempted: restart 3 of at most 3"),
        ("exit 42", {"SLURM_RESTART_COUNT": "3"}, 42, 0, "after 3 restart(s), and 3 are allowed"),
        ("exit 42", {"SCONTROL": "1"}, 42, 1, "scontrol could not requeue job 77"),
        ("exit 0", {"PYTHON": "1"}, 1, 0, "cannot import tfdml"),
    ],
)
def test_status_of_the_tasks(
    srun: str, variables: dict[str, str], status: int, requeues: int, said: str, commands: Path
) -> None:
    done = run(commands, text_of(max_restarts=3), SRUN=srun, **variables)
    assert done.returncode == status, done.stderr
    assert said in done.stdout + done.stderr
    called = commands.parent / "scontrol.called"
    assert (called.read_text() if called.exists() else "") == "requeue 77\n" * requeues


def test_srun_is_told_all_that_slurm_conf_may_say_otherwise(commands: Path) -> None:
    assert run(commands, text_of("train.py", "two words"), SRUN="exit 0").returncode == 0
    assert (commands.parent / "srun.called").read_text().splitlines() == [
        "--label",
        "--export=ALL",
        "--distribution=block",
        "--cpus-per-task=4",
        "--kill-on-bad-exit=0",
        "--wait=300",
        "python",
        "train.py",
        "two words",
    ]


@pytest.mark.parametrize(("ended", "status"), [(0, 0), (3, 3), (42, 42)])
def test_the_chief_decides_where_other_tasks_serve(ended: int, status: int, commands: Path) -> None:
    """srun's own status is that of the tasks that are killed in the end."""
    (commands / "python").write_text(f'#!/bin/bash\n[[ "$1" == -c ]] && exit 0\nexit {ended}\n')
    done = run(commands, text_of(ps=1), SRUN='SLURM_PROCID=0 "$@"; exit 137')
    assert done.returncode == status, done.stderr
    assert (commands.parent / "scancel.called").read_text() == "--signal=KILL 77.0\n"
    assert (commands.parent / "scontrol.called").exists() == (status == 42)


def test_a_chief_that_never_ran_leaves_the_status_of_srun(commands: Path) -> None:
    assert run(commands, text_of(ps=1), SRUN="exit 137").returncode == 137


@pytest.mark.parametrize(
    ("settings", "shielded"),
    [({"workers": 1, "ps": 1}, [1, 2]), ({"workers": 2, "evaluator": True}, [2])],
)
def test_sigterm_is_not_for_tasks_that_serve(
    settings: dict[str, Any], shielded: list[int], commands: Path
) -> None:
    (commands / "python").write_text(
        '#!/bin/bash\n[[ "$1" == -c ]] || kill -TERM $$\necho "survived $SLURM_PROCID"\n'
    )
    survived = []
    for task in range(3):
        srun = f'SLURM_PROCID={task} "$@"; exit 0'
        done = run(commands, text_of(**settings), SRUN=srun)
        survived += [int(number) for number in re.findall(r"survived (\d+)", done.stdout)]
    assert survived == shielded
