"""Start the tasks of a cluster on this machine, wait for their results, leave no process behind.

```python
def train(steps):  # at the top of a module; runs in every worker, with its TF_CONFIG set
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    ...
    return weight_hash(model)

first, second = run_workers(train, num_workers=2, args=(20,))
assert first == second
```
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tfdml.cluster.ports import free_ports
from tfdml.errors import ConfigError
from tfdml.testing.forkserver import worker_environment
from tfdml.testing.group import Workers
from tfdml.testing.task import Call
from tfdml.testing.worker import Worker, WorkerError

PORT_CLASH = "Could not start gRPC server"
_ATTEMPTS = 3


def start_workers(
    fn: Callable[..., Any],
    num_workers: int = 2,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    jobs: Mapping[str, int] | None = None,
    timeout_seconds: float = 120.0,
    devices_per_worker: int = 1,
    threads_per_worker: int = 1,
    env: Mapping[str, str] | None = None,
) -> Workers:
    """Start tasks that share a TF_CONFIG on free local ports; for tests that send signals or read
    output.

    `jobs` replaces `num_workers` where there are other types: `{"chief": 1, "worker": 2, "ps": 1}`.
    A task whose function has returned lives on until the `with` block ends, so that its end does
    not break the collectives of the others. `timeout_seconds` counts from the moment when all tasks
    are started.
    """
    sizes = dict(jobs) if jobs is not None else {"worker": num_workers}
    for job, size in sizes.items():
        _check_positive(f"the number of {job} tasks", size)
    ports = iter(free_ports(sum(sizes.values())))
    cluster = {
        job: [f"localhost:{next(ports)}" for _ in range(size)] for job, size in sizes.items()
    }
    environment = worker_environment(env or {})
    environments = {}
    for job, size in sizes.items():
        for index in range(size):
            tf_config = json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})
            environments[f"{job} {index}"] = {**environment, "TF_CONFIG": tf_config}
    return _start(
        environments, fn, args, kwargs, timeout_seconds, devices_per_worker, threads_per_worker
    )


def run_workers(
    fn: Callable[..., Any],
    num_workers: int = 2,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    **settings: Any,
) -> list[Any]:
    """Run `fn(*args, **kwargs)` in every worker and return the results in task order.

    `settings` are those of `start_workers`. Results and arguments are pickled. What the workers
    printed is printed here too, so that the test runner shows it with a failing test.

    Raises:
        WorkerError: a worker raised, died or did not finish in time. A port taken by somebody else
        meanwhile is
            no failure: all start again on new ports.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with start_workers(fn, num_workers, args, kwargs, **settings) as workers:
                results = workers.wait()
                for worker in workers:
                    _echo(worker)
                return results
        except WorkerError as error:
            if PORT_CLASH not in str(error) or attempt == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def run_in_process(
    fn: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    timeout_seconds: float = 120.0,
    num_virtual_devices: int = 1,
    threads: int = 1,
    env: Mapping[str, str] | None = None,
) -> Any:
    """Run `fn` in one fresh process without TF_CONFIG: the one-device and the mirrored side of a
    comparison.
    """
    environment = worker_environment(env or {})
    environment.pop("TF_CONFIG", None)
    with _start(
        {"process": environment}, fn, args, kwargs, timeout_seconds, num_virtual_devices, threads
    ) as workers:
        (result,) = workers.wait()
        _echo(workers[0])
        return result


def _start(
    environments: Mapping[str, dict[str, str]],
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None,
    timeout_seconds: float,
    num_devices: int,
    num_threads: int,
) -> Workers:
    _check_positive("the number of devices", num_devices)
    _check_positive("the number of threads", num_threads)
    return Workers(
        environments,
        Call.of(fn, args, dict(kwargs or {})),
        timeout_seconds=timeout_seconds,
        num_devices=num_devices,
        num_threads=num_threads,
    )


def _check_positive(what: str, value: int) -> None:
    if not isinstance(value, int) or value < 1:
        raise ConfigError(f"{what} must be a whole number of at least 1, got {value!r}.")


def _echo(worker: Worker) -> None:
    text = worker.output()
    if text:
        sys.stdout.write("".join(f"[{worker.name}] {line}\n" for line in text.splitlines()))
