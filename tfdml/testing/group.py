"""The tasks of one cluster: wait for them, say who failed first, leave no process behind."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import wait as wait_for_any
from pathlib import Path
from types import TracebackType
from typing import Any, overload

from tfdml.testing.forkserver import warm_context
from tfdml.testing.task import Assignment, Call
from tfdml.testing.worker import Worker, WorkerError

# The tasks end themselves this long after the parent should have ended them.
_BACKSTOP_SECONDS = 30.0
_STACK_DUMP_SECONDS = 1.0


class Workers(Sequence[Worker]):
    """The tasks of one cluster, in the order asked for. Leaving the `with` block ends them."""

    def __init__(self, environments: Mapping[str, dict[str, str]], call: Call, **settings: Any):
        self._timeout_seconds: float = settings.pop("timeout_seconds")
        self._directory = tempfile.mkdtemp(prefix="tfdml-testing-")
        self._workers: list[Worker] = []
        _open_groups.add(self)
        try:
            context = warm_context()
            for number, (name, environment) in enumerate(environments.items()):
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
        # Counted from here: the very first task has waited for the imports of its warm parent.
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


_open_groups: set[Workers] = set()


@atexit.register
def _close_open_groups() -> None:
    # Registered after multiprocessing's own exit function, so it runs before that one would wait
    # for the tasks.
    for group in list(_open_groups):
        group.close()
