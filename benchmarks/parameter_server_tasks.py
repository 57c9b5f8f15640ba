"""All tasks of one job of `parameter_server.py`: forked from a process that has imported TensorFlow.

The chief measures one part and writes what it found, as JSON, to `--result`. A task may be in a network namespace of
its own, which `--namespaces` names by a process that lives in it.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
import time
import traceback

import parameter_server_parts as parts

import tfdml

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cluster", type=json.loads, required=True, help="job -> addresses")
    parser.add_argument("--namespaces", type=json.loads, default={}, help="task -> process")
    parser.add_argument("--result", required=True)
    flags = parser.parse_args()
    die_with_parent()
    tasks: dict[str, int] = {}
    for job in ("ps", "worker", "chief"):  # The chief is last: it knows the others' numbers.
        for index in range(len(flags.cluster[job])):
            name = f"{job} {index}"
            tasks[name] = start(flags, job, index, {**tasks})
    # A server never ends by itself, so whoever ends first ends the job.
    number, status = os.wait()
    for task, other in tasks.items():
        if other == number:
            if task != "chief 0" or status != 0:
                print(
                    f"{task} ended with status {os.waitstatus_to_exitcode(status)}", file=sys.stderr
                )
                status = 1
        else:
            os.kill(other, signal.SIGKILL)
            os.waitpid(other, 0)
    sys.exit(1 if status else 0)


def start(flags: argparse.Namespace, job: str, index: int, tasks: dict[str, int]) -> int:
    number = os.fork()
    if number:
        return number
    code = 1
    try:
        die_with_parent()
        holder = flags.namespaces.get(f"{job} {index}")
        if holder is not None:
            enter_network(holder)
        task = {"type": job, "index": index}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": flags.cluster, "task": task})
        run(flags, {**tasks, f"{job} {index}": os.getpid()})
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def run(flags: argparse.Namespace, tasks: dict[str, int]) -> None:
    cluster = tfdml.cluster.resolve()
    tfdml.cluster.serve(cluster)
    strategy = tfdml.strategies.create("parameter_server", cluster)
    begin = time.monotonic()
    result = getattr(parts, flags.part)(strategy, tasks, flags.quick)
    print(f"{flags.part}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
    with open(flags.result, "w", encoding="utf-8") as file:
        json.dump(result, file)


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def enter_network(process_number: int) -> None:
    """Move this process, which must have one thread, to the network namespace of another."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/proc/{process_number}/ns/net") as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            error = ctypes.get_errno()
            raise OSError(error, f"setns: {os.strerror(error)}")


if __name__ == "__main__":
    main()
