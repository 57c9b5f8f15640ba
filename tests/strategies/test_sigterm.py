"""A task of several workers that has nothing to save ends by SIGTERM, as any process does."""

from __future__ import annotations

import signal
import time

import pytest

from tests.launch.launcher import eventually
from tfdml.testing import WorkerError, start_workers


def idle() -> None:
    import tfdml

    tfdml.strategies.create("multi_worker", tfdml.cluster.resolve())
    print("made")
    while True:
        time.sleep(0.1)


def test_an_idle_worker_ends() -> None:
    with start_workers(idle, 2) as workers:
        assert eventually(lambda: all("made" in worker.output() for worker in workers))
        workers[1].kill(signal.SIGTERM)
        with pytest.raises(WorkerError, match="SIGTERM"):
            workers.wait_for(1)
