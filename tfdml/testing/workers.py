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

import atexit
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import wait as wait_for_any
from pathlib import Path
from types import TracebackType
from typing import Any, overload

from tfdml.cluster.ports import free_ports
from tfdml.errors import ConfigError
from tfdml.testing.forkserver import warm_context, worker_environment
from tfdml.testing.task import Assignment, Call
from tfdml.testing.worker import Worker, WorkerError

PORT_CLASH = "Could not start gRPC server"
_ATTEMPTS = 3
# The tasks end themselves this long after the parent should have ended them.
_BACKSTOP_SECONDS = 30.0
_STACK_DUMP_SECONDS = 1.0


class Workers(Sequence[Worker]):
    """The tasks of one cluster, in the order asked for. Leaving the `with` block ends them."""

    def __init__(self, calls: Mapping[str, dict[str, str]], call: Call, **settings: Any):
        self._timeout_seconds: float = settings.pop("timeout_seconds")
        self._directory = tempfile.mkdtemp(prefix="tfdml-testing-")
        self._workers: list[Worker] = []
        _open_groups.add(self)
        try:
            context = warm_context()
            for number, (name, environment) in enumerate(calls.items()):
                directory = Path(self._directory, str(number))
                directory.mkdir()
                assignment = Assignment(
                    call=call,
                    directory=str(directory),
                    working_directory=os.getcwd(),
                    environment=environment,
                    limit_seconds=self._timeout_seconds + _BACKSTOP_SECONDS,
                    **settings,
                )
                self._workers.append(Worker(name, context, assignment))
        except BaseException:
            self.close()
            raise
        # The first process ever waits for the imports of its warm parent; that is not the tasks'
        # time.
        self._deadline = time.monotonic() + self._timeout_seconds

    def wait(self) -> list[Any]:
        """The results in task order; `WorkerError` at the first failure or when time is over."""
        self._wait_while_running(self._workers, stop_at_failure=True)
        first = self._first_failed()
        if first is not None:
            raise self._error(first)
        return [w.result for w in self._workers]

    def wait_for(self, index: int) -> Any:
        """The result of one task; `WorkerError` if that one fails, whatever the others do."""
        worker = self._workers[index]
        self._wait_while_running([worker], stop_at_failure=False)
        if worker.failure:
            raise self._error(worker)
        return worker.result

    def close(self) -> None:
        """End every process and forget the files; what the handles have read stays."""
        for worker in self._workers:
            worker.end()
        shutil.rmtree(self._directory, ignore_errors=True)
        _open_groups.discard(self)

    def _wait_while_running(self, wanted: Sequence[Worker], stop_at_failure: bool) -> None:
        while True:
            # Each task is looked at once a round: one that ends meanwhile wakes the next wait.
            running = [w for w in self._workers if not w.finished]
            failed = any(w.failure for w in self._workers if w not in running)
            if (stop_at_failure and failed) or not any(w in running for w in wanted):
                return
            remaining = self._deadline - time.monotonic()
            if remaining <= 0:
                raise self._timed_out(running)
            wait_for_any([x for w in running for x in w.waitables], timeout=remaining)

    def _timed_out(self, hung: Sequence[Worker]) -> WorkerError:
        for worker in hung:  # their faulthandler writes the stacks of all threads into their output
            worker.kill(signal.SIGUSR1)
        time.sleep(_STACK_DUMP_SECONDS)
        names = " and ".join(w.name for w in hung)
        head = (
            f"{names} did not finish within {self._timeout_seconds:g} seconds; "
            "the stacks of their threads are in their output."
        )
        reports = [w.report(with_traceback=True) for w in self._workers]
        return WorkerError("\n".join([head, *reports]))

    def _first_failed(self) -> Worker | None:
        failed = [(w.failure.at, i) for i, w in enumerate(self._workers) if w.failure]
        return self._workers[min(failed)[1]] if failed else None

    def _error(self, worker: Worker) -> WorkerError:
        assert worker.failure is not None
        order = "failed first" if worker is self._first_failed() else "failed, not as the first"
        lines = [f"{worker.name} {order}: it {worker.failure.reason}"]
        if worker.failure.traceback:
            lines.append(worker.failure.traceback.rstrip())
        lines += [w.report(with_traceback=w is not worker) for w in self._workers]
        return WorkerError("\n".join(lines))

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._workers)

    @overload
    def __getitem__(self, index: int) -> Worker: ...
    @overload
    def __getitem__(self, index: slice) -> list[Worker]: ...
    def __getitem__(self, index: int | slice) -> Worker | list[Worker]:
        return self._workers[index]

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._workers)

    __hash__ = object.__hash__


_open_groups: set[Workers] = set()


@atexit.register
def _close_open_groups() -> None:
    # Registered after multiprocessing's own exit function, so it runs before that one would wait
    # for the tasks.
    for group in list(_open_groups):
        group.close()


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
