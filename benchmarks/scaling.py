"""Samples/s of an MLP with one and two worker processes, over a hand-written loop and over PyTorch DDP.

The 784-512-512-10 MLP, SGD, 128 examples a worker and step, float32; every worker has one core of its own.
PyTorch runs in processes of its own, with the interpreter that TFDML_TORCH_PYTHON names (default: this one),
when that has torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from table import Row, parse_flags, report

from tfdml.cluster.ports import free_ports
from tfdml.errors import ConfigError, exit_on_user_error
from tfdml.testing import current_task, run_workers

PER_WORKER = 128
STEPS_PER_EXECUTION = 16
LIMIT_SECONDS = 300
TORCH_PYTHON = "TFDML_TORCH_PYTHON"
DDP = Path(__file__).parent / "peers" / "ddp_mlp.py"

TENSORFLOW_SIDES = ("hand-written", "Trainer", "Trainer, int8")

# name of a side -> samples/s of its segments, of one run
Rates = dict[str, list[float]]


def main() -> None:
    flags = parse_flags(__doc__.splitlines()[0])
    with exit_on_user_error():
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise ConfigError(
                f"scaling needs 2 cores, one for each worker, got {len(cores)}. "
                "Run it on a larger machine, or give this process more with taskset."
            )
        torch_python = find_torch()
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # As `tfdml launch` does; for every side.
    steps, segments, runs = (48, 3, 1) if flags.quick else (64, 4, 3)
    measured: list[dict[int, Rates]] = []
    for _ in range(runs):
        run = {}
        for workers in (1, 2):
            sides = TENSORFLOW_SIDES if workers > 1 else TENSORFLOW_SIDES[:2]
            run[workers] = {
                side: tensorflow_rates(side, cores[:workers], steps, segments) for side in sides
            }
            if torch_python:
                run[workers]["DDP"] = ddp_rates(torch_python, cores[:workers], steps, segments)
        measured.append(run)
    title = "Scaling, MLP 784-512-512-10, 128 examples a worker, one core a worker"
    report(title, rows_of(measured), flags.json)
    print("Lowest and highest segment, samples/s:")
    for workers in (1, 2):
        for side in measured[0][workers]:
            every = [rate for run in measured for rate in run[workers][side]]
            print(f"  {workers} worker(s), {side}: {min(every):,.0f} to {max(every):,.0f}")
    print(f"Load of the machine over the last minutes: {os.getloadavg()}")


def rows_of(measured: list[dict[int, Rates]]) -> list[Row]:
    def rate(workers: int, side: str) -> float | None:
        """The median of all segments of all runs; None when the side did not run."""
        every = [x for run in measured for x in run[workers].get(side, [])]
        return statistics.median(every) if every else None

    def ratio(workers: int, side: str, other: str, other_workers: int = 0) -> float | None:
        """The median over runs of the quotient of two medians of one run."""
        quotients = [
            statistics.median(run[workers][side])
            / statistics.median(run[other_workers or workers][other])
            for run in measured
            if other in run[workers]
        ]
        return statistics.median(quotients) if quotients else None

    rows = []
    for workers in (1, 2):
        name = f"{workers} worker" + "s" * (workers > 1)
        rows += [
            Row(f"{name}: Trainer", rate(workers, "Trainer"), "samples/s"),
            Row(f"{name}: hand-written loop", rate(workers, "hand-written"), "samples/s"),
            Row(f"{name}: PyTorch DDP, gloo", rate(workers, "DDP"), "samples/s"),
            Row(
                f"{name}: Trainer",
                ratio(workers, "Trainer", "hand-written"),
                "ratio",
                floor=1.0,
                baseline="hand-written loop",
            ),
            Row(
                f"{name}: Trainer",
                ratio(workers, "Trainer", "DDP"),
                "ratio",
                target=1.0,
                baseline="PyTorch DDP, gloo",
            ),
        ]
    rows += [
        Row("2 workers: Trainer, int8", rate(2, "Trainer, int8"), "samples/s"),
        Row(
            "2 workers: Trainer, int8",
            ratio(2, "Trainer, int8", "hand-written"),
            "ratio",
            baseline="hand-written loop",
        ),
        Row(
            "2 workers: Trainer, int8",
            ratio(2, "Trainer, int8", "DDP"),
            "ratio",
            floor=1.0,
            baseline="PyTorch DDP, gloo",
        ),
    ]
    for side in ("Trainer", "hand-written", "DDP"):
        name = f"2 workers over 1: {side}"
        rows.append(Row(name, ratio(2, side, side, 1), "ratio", baseline="1 worker"))
    return rows


# -- TensorFlow


def tensorflow_rates(side: str, cores: list[int], steps: int, segments: int) -> list[float]:
    """One side in a cluster of its own, with a worker on each of `cores`."""
    with contextlib.redirect_stdout(sys.stderr):  # the workers' own output
        results = run_workers(
            in_worker,
            len(cores),
            args=(side, cores, steps, segments),
            timeout_seconds=LIMIT_SECONDS,
            threads_per_worker=1,  # on one core, two are 7% slower and four 10%
        )
    return results[0]


def in_worker(side: str, cores: list[int], steps: int, segments: int) -> list[float]:
    # Imported here: the process that starts the workers needs no TensorFlow.
    from scaling_worker import measure

    _, index = current_task()
    return measure(
        side,
        cores[index],
        steps=steps,
        segments=segments,
        per_worker=PER_WORKER,
        at_once=STEPS_PER_EXECUTION,
    )


# -- PyTorch


def find_torch() -> str | None:
    """The interpreter that has torch, or None.

    Raises:
        ConfigError: TFDML_TORCH_PYTHON names one that has not.
    """
    python = os.environ.get(TORCH_PYTHON)
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)"
    try:
        found = subprocess.run([python or sys.executable, "-c", look]).returncode == 0
    except OSError:
        found = False
    if python and not found:
        raise ConfigError(
            f"{TORCH_PYTHON} must name a Python interpreter that has torch, got '{python}'. "
            "Install torch for it, or unset the variable to leave PyTorch out."
        )
    return (python or sys.executable) if found else None


def ddp_rates(python: str, cores: list[int], steps: int, segments: int) -> list[float]:
    """DistributedDataParallel with a process on each of `cores`."""
    (port,) = free_ports(1)
    settings = {
        "world": len(cores),
        "port": port,
        "per_worker": PER_WORKER,
        "steps": steps,
        "at_once": STEPS_PER_EXECUTION,
        "segments": segments,
    }
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    processes = []
    try:
        for rank, core in enumerate(cores):
            options = settings | {"rank": rank, "core": core}
            command = [python, str(DDP), *(f"--{name}={value}" for name, value in options.items())]
            processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, env=environment))
        outputs = [process.communicate(timeout=LIMIT_SECONDS)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for rank, process in enumerate(processes):
        if process.returncode != 0:
            raise RuntimeError(f"PyTorch process {rank} ended with status {process.returncode}")
    return json.loads(outputs[0])


if __name__ == "__main__":
    main()
