"""That gRPC really takes a proxy from the environment for its way between tasks, and that ours are exempt."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

import tfdml
from tfdml.testing import run_workers, start_workers
from tfdml.training.agreement import Agreement

pytestmark = pytest.mark.slow


@pytest.fixture
def proxy() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(100)
        yield server


def environment(proxy: socket.socket, **others: str) -> dict[str, str]:
    address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
    # Whatever else is set where the test runs.
    quiet = {name: "" for name in os.environ if name.lower().endswith("_proxy")}
    return {**quiet, "http_proxy": address, **others}


def meet() -> float:
    strategy = tfdml.strategies.create("multi_worker", tfdml.cluster.resolve())
    return sum(Agreement(strategy).of_each(1.0))


def meet_as_upstream() -> None:
    import tensorflow as tf

    tf.distribute.MultiWorkerMirroredStrategy()


def test_tasks_meet_whatever_proxy_the_environment_has(proxy):
    assert run_workers(meet, 2, env=environment(proxy)) == [2.0, 2.0]
    proxy.setblocking(False)
    with pytest.raises(BlockingIOError):
        proxy.accept()


def test_without_the_exemption_a_task_looks_for_the_other_one_through_it(proxy):
    with start_workers(meet_as_upstream, 2, env=environment(proxy)):
        connection, _ = proxy.accept()
        with connection:
            assert connection.recv(100).startswith(b"CONNECT localhost:")
