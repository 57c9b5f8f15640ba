"""Starts one job of `parameter_server.py`, on this host or with its tasks behind a slow link."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limited_link import PORT, Link

from tfdml.cluster.ports import free_ports

PROGRAM = Path(__file__).parent / "parameter_server_tasks.py"
JOBS = {"chief": 1, "worker": 2, "ps": 2}
# Every worker and every ps on a host of its own; the chief shares that of the first ps.
HOSTS = {"worker 0": 0, "worker 1": 1, "ps 0": 2, "ps 1": 3, "chief 0": 2}
NUM_HOSTS = 1 + max(HOSTS.values())
ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_ENABLE_ONEDNN_OPTS": "1",  # As `tfdml launch` does; for every side.
    "TF_NUM_INTRAOP_THREADS": "1",
}
LIMIT_SECONDS = 900


def run_part(part: str, quick: bool, link: Link | None = None) -> dict[str, Any]:
    """Run `parameter_server_parts.<part>` in a job of its own: 2 workers, 2 ps, a chief.

    Args:
        link: of NUM_HOSTS hosts, as HOSTS assigns them; None is this host.

    Raises:
        RuntimeError: a task ended, or the job took longer than LIMIT_SECONDS; with the end of what was printed.
    """
    names = [f"{job} {index}" for job, size in JOBS.items() for index in range(size)]
    if link is None:
        addresses = {
            name: f"localhost:{port}"
            for name, port in zip(names, free_ports(len(names)), strict=True)
        }
    else:
        addresses = {
            name: f"{link.addresses[HOSTS[name]]}:{PORT + number}"
            for number, name in enumerate(names)
        }
    cluster = {
        job: [addresses[f"{job} {index}"] for index in range(size)] for job, size in JOBS.items()
    }
    with tempfile.TemporaryDirectory() as directory:
        result = Path(directory) / "result.json"
        command = [
            *(sys.executable, str(PROGRAM), f"--part={part}", f"--result={result}"),
            f"--cluster={json.dumps(cluster)}",
            *(["--quick"] if quick else []),
        ]
        if link is None:
            process = subprocess.Popen(command, **_options())
        else:
            holders = {name: _holder(link, host) for name, host in HOSTS.items()}
            process = link.start(0, [*command, f"--namespaces={json.dumps(holders)}"], **_options())
        return _wait(process, part, result)


def _options() -> dict[str, Any]:
    return {
        "env": {**os.environ, **ENVIRONMENT},
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
        "errors": "replace",
    }


def _holder(link: Link, host: int) -> int:
    """The number of a process that lives in the namespace of `host` as long as the link does."""
    process = link.start(host, ["sh", "-c", "echo $$; exec cat"], **_PIPES)
    return int(process.stdout.readline())


_PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}


def _wait(process: subprocess.Popen, part: str, result: Path) -> dict[str, Any]:
    try:
        output, _ = process.communicate(timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # The tasks follow it: the kernel tells them.
        output, _ = process.communicate()
        raise RuntimeError(f"{part}: not done in {LIMIT_SECONDS} s:\n{output[-3000:]}") from None
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode != 0:
        raise RuntimeError(f"{part}: ended with status {process.returncode}:\n{output[-3000:]}")
    lines: Sequence[str] = output.splitlines()
    print(*(line for line in lines if line.startswith(part)), sep="\n", file=sys.stderr)
    return json.loads(result.read_text())
