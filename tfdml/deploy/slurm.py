"""A file for `sbatch`: one step of `srun` runs every task, and a preempted job goes back into the queue.

Tasks run as `srun python SCRIPT`, not under `tfdml launch`: the script finds Slurm by itself, Slurm's
signals reach it once and directly, and its exit status comes through as it is. What Slurm 22.05 does,
and the file therefore does (tests/slurm shows each on a real Slurm):

- `#SBATCH --signal=TERM@S` and `scancel --signal=TERM` reach the steps, not the batch script; it waits
  for srun's status. A plain `scancel` ends the batch script too, so nothing is requeued then.
- srun's status is the highest of its tasks'. With --kill-on-bad-exit, which slurm.conf may have set, the
  failure of one task sends SIGTERM to the others; they take it for preemption, save and exit 42, and the
  status says "preempted". --wait sends SIGKILL instead, and only to those that do not end by themselves.
- srun does not know the batch job's --cpus-per-task; it then lays out tasks of one CPU, in other numbers
  on the nodes than the job has GPUs and CPUs for.
- `scontrol requeue` keeps the job's number; the new run finds SLURM_RESTART_COUNT.
"""

from __future__ import annotations

import math
import shlex

from tfdml.cluster.resolver import PORT_VARIABLE
from tfdml.cluster.roles import CHIEF_VARIABLE, EVALUATOR_VARIABLE, PS_VARIABLE
from tfdml.deploy.job import Job
from tfdml.errors import PREEMPTED_STATUS, ConfigError

_MAX_SIGNAL_SECONDS = 65535  # --signal takes no more.
# A task whose peer failed finds out from TensorFlow within some ten seconds. The last one to end may
# still write the model.
_LEAST_WAIT_SECONDS = 300
_WINDING_UP_SECONDS = 10
_SRUN = 'srun --label --export=ALL --distribution=block --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}"'


def generate(job: Job) -> str:
    """The text of the file. Raises `ConfigError` where Slurm cannot do what `job` says."""
    if job.save_seconds > _MAX_SIGNAL_SECONDS:
        raise ConfigError(
            f"`save_seconds` must be at most {_MAX_SIGNAL_SECONDS} with Slurm, whose --signal takes no "
            f"more, got {job.save_seconds}."
        )
    led = bool(job.ps or job.evaluator)
    parts = [
        _head(job),
        _options(job),
        _environment(job),
        _command(job),
        _led_step(job) if led else _step(job),
        _requeue(job),
    ]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def _head(job: Job) -> str:
    return f"""
#!/bin/bash
# Job {job.name} for Slurm, from `tfdml cluster --format=slurm`.
# Call sbatch where the script runs by hand: in its directory, with its environment activated.
#
# Can this cluster run it, and when:
#   sbatch --test-only {job.name}.sbatch
# Run it:
#   sbatch {job.name}.sbatch
# Save, and run again from there:
#   scancel --signal=TERM JOBID
# End it:
#   scancel JOBID
"""


def _options(job: Job) -> str:
    counts = ", ".join(f"{count} {task_type}" for task_type, count in job.task_counts.items())
    lines = [
        "# A line with ## is switched off; take one # away to use it.",
        f"#SBATCH --job-name={job.name}",
        f"# In this order: {counts}." + ("" if job.has_chief else " Worker 0 is the chief."),
        f"#SBATCH --ntasks={job.num_tasks}",
        "# Without this, as many on a node as it has room for:",
        "##SBATCH --ntasks-per-node=4",
        f"#SBATCH --cpus-per-task={job.cpus_per_worker}",
        f"# {job.memory_gib_per_worker} GiB a task; Slurm counts memory by the CPU.",
        f"#SBATCH --mem-per-cpu={_mib_per_cpu(job)}M",
        *_gpu_options(job),
        "##SBATCH --partition=NAME",
        "##SBATCH --account=NAME",
        "",
        "# Days-hours:minutes:seconds.",
        f"#SBATCH --time={_time_limit(job.time_limit_minutes)}",
    ]
    if job.save_seconds:
        lines += [
            f"# SIGTERM for the tasks, not for this script, {job.save_seconds} seconds before the time limit or up",
            f"# to a minute earlier. They save and exit with status {PREEMPTED_STATUS}.",
            f"#SBATCH --signal=TERM@{job.save_seconds}",
        ]
    else:
        lines += [
            "# Without this, tasks are not told before the time limit and do not save:",
            "##SBATCH --signal=TERM@120",
        ]
    lines += [
        "# The job may go back into the queue: by `scontrol` below, and by Slurm where a node fails. Its log",
        "# then goes on where it stopped.",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        "#SBATCH --output=%x-%j.log",
    ]
    return "\n".join(lines)


def _gpu_options(job: Job) -> list[str]:
    if not job.gpus_per_worker:
        return ["##SBATCH --gpus-per-task=1"]
    lines = [f"#SBATCH --gpus-per-task={job.gpus_per_worker}"]
    if job.ps:
        lines = [
            "# All tasks of a step are given the same: the chief and the parameter servers, which compute",
            "# nothing, hold GPUs too.",
            *lines,
        ]
    return lines


def _environment(job: Job) -> str:
    lines = [
        "set -u",
        "# Modules and the virtual environment, where the shell that calls sbatch has not loaded them:",
        "# module load cuda",
        "# source .venv/bin/activate",
        "",
    ]
    if job.volume.startswith("/"):
        lines += [
            "# Data and --model_dir belong here, on storage that every node sees.",
            *_as_it_is(job.volume),
            f"shared={_word(job.volume)}",
            "if [[ ! -d $shared ]]; then",
            '  echo "$shared is not a directory on $(hostname): is the shared storage mounted?" >&2',
            "  exit 1",
            "fi",
        ]
    else:
        lines += ["# Data and --model_dir belong on storage that every node sees."]
    lines += [
        "if ! python -c 'import tfdml'; then",
        '  echo "$(command -v python || echo python) on $(hostname) cannot import tfdml:" \\',
        '    "activate its environment, above or before sbatch." >&2',
        "  exit 1",
        "fi",
        "export PYTHONUNBUFFERED=1  # Else what a task prints comes to the log 8 KB at a time.",
        "# TensorFlow leaves oneDNN off on some CPUs where it is faster; `tfdml launch` does the same.",
        "export TF_ENABLE_ONEDNN_OPTS=${TF_ENABLE_ONEDNN_OPTS:-1}",
        "",
        "# Each task finds the cluster and its own place in Slurm's variables. A TF_CONFIG that came with the",
        "# shell's environment would win.",
        "unset TF_CONFIG",
        "export TFDML_CLUSTER=slurm",
        f"export {CHIEF_VARIABLE}={int(job.has_chief)}",
        f"export {PS_VARIABLE}={job.ps}",
        f"export {EVALUATOR_VARIABLE}={int(job.evaluator)}",
    ]
    lines += [
        "# The port of a node's first task; without this it follows from the job's number. TensorFlow's server",
        "# there asks nobody who he is: docs/cluster-secure.md.",
        f"# export {PORT_VARIABLE}=12345"
        if job.port is None
        else f"export {PORT_VARIABLE}={job.port}",
    ]
    return "\n".join(lines)


def _command(job: Job) -> str:
    lines = ["# The script and its arguments, one a line.", *_as_it_is(*job.command)]
    return "\n".join([*lines, "command=(", *(f"  {_word(each)}" for each in job.command), ")"])


def _step(job: Job) -> str:
    wait = max(_LEAST_WAIT_SECONDS, job.save_seconds)
    return f"""
# Where one task fails, TensorFlow tells the others, and they fail too; --wait kills those that still
# run so many seconds after the first has ended. --kill-on-bad-exit would begin with SIGTERM, which
# tells tasks to save and exit with {PREEMPTED_STATUS}, and srun would return that.
{_SRUN} \\
  --kill-on-bad-exit=0 --wait={wait} \\
  python "${{command[@]}}"
status=$?  # The highest of the tasks' statuses.
"""


def _led_step(job: Job) -> str:
    """With tasks that end only when the chief has: its status is the job's."""
    if job.ps:
        helpers, those = "All but task 0, the chief, serve", "-gt 0"
        workers = ""
    else:
        helpers, those = "The last task evaluates", "-eq $((SLURM_NTASKS - 1))"
        workers = """
  elif [[ $SLURM_PROCID -gt 0 ]]; then
    exec "$@\""""
    return f"""
# What each task runs. {helpers} until the chief has ended. SIGTERM is not for
# such a task: the chief may need it to save. The chief's status is the job's. It runs on this node, so a
# file hands the status over. The other tasks are ended {_WINDING_UP_SECONDS} seconds after it.
# shellcheck disable=SC2016 # The task's shell expands these, not this one.
task='
  if [[ $SLURM_PROCID {those} ]]; then
    trap "" TERM
    exec "$@"{workers}
  fi
  trap : TERM  # The script has the signal too; wait for it.
  "$@"
  echo $? >"$status_file"
  sleep {_WINDING_UP_SECONDS}
  scancel --signal=KILL "$SLURM_JOB_ID.$SLURM_STEP_ID"
'
status_file=$(mktemp)
export status_file
{_SRUN} \\
  --kill-on-bad-exit=0 --wait=0 \\
  bash -c "$task" task python "${{command[@]}}"
status=$?
[[ -s $status_file ]] && status=$(<"$status_file")  # Else the chief did not come to its end.
rm -f "$status_file"
"""


def _requeue(job: Job) -> str:
    return f"""
# {PREEMPTED_STATUS}: preempted, has saved, run me again.
if [[ $status -eq {PREEMPTED_STATUS} ]]; then
  restarts=${{SLURM_RESTART_COUNT:-0}}
  if [[ $restarts -ge {job.max_restarts} ]]; then
    echo "preempted after $restarts restart(s), and {job.max_restarts} are allowed: sbatch this file to go on" >&2
  else
    echo "preempted: restart $((restarts + 1)) of at most {job.max_restarts}"
    scontrol requeue "$SLURM_JOB_ID" || echo "scontrol could not requeue job $SLURM_JOB_ID" >&2
  fi
fi
exit "$status"
"""


def _mib_per_cpu(job: Job) -> int:
    """Slurm counts memory by node, CPU or GPU, never by task."""
    return math.ceil(job.memory_gib_per_worker * 1024 / job.cpus_per_worker)


def _time_limit(minutes: int) -> str:
    days, rest = divmod(minutes, 24 * 60)
    return f"{days}-{rest // 60:02d}:{rest % 60:02d}:00"


def _as_it_is(*texts: str) -> list[str]:
    """For texts that are quoted: shellcheck takes a $ or a typographic quote in them for a slip."""
    plain = all(_word(text) == text for text in texts)
    return [] if plain else ["# shellcheck disable=all # What is in quotes is meant as it is."]


def _word(text: str) -> str:
    """One word of bash, on one line: sbatch refuses files with \\r\\n in them, wherever it is."""
    if all(character.isprintable() for character in text):
        return shlex.quote(text)
    return "$'" + "".join(map(_escaped, text)) + "'"


def _escaped(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    # Octal, always three digits, so that a digit after it is not taken for a part of it.
    return (
        character if ord(character) >= 128 or character.isprintable() else f"\\{ord(character):03o}"
    )
