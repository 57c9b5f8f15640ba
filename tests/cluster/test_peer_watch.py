"""Tasks that answer are done with; those that do not are named, with the reason and the seconds waited."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.launch.launcher import eventually
from tfdml.cluster.peer_watch import PeerWatch, awaited_by, why_silent
from tfdml.cluster.ports import free_ports
from tfdml.cluster.spec import ClusterSpec


@pytest.fixture
def answering() -> Iterator[str]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def others(*addresses: str) -> list[ClusterSpec]:
    """Workers from 1 on, at these addresses."""
    return list(ClusterSpec({"worker": ("127.0.0.1:1", *addresses)}).tasks())[1:]


def test_silent_tasks_are_reported_and_then_given_up(answering: str) -> None:
    silent = f"127.0.0.1:{free_ports(1)[0]}"
    said: list[str] = []
    given_up: list[str] = []
    watch = PeerWatch(
        others(answering, silent),
        timeout_seconds=2.5,
        report_seconds=0.5,
        say=said.append,
        give_up=given_up.append,
        remedy="start it",
    )
    with closing(watch):
        assert eventually(lambda: bool(given_up))
    reason = "(nothing listens there yet)"
    assert said and all(line.startswith(f"waiting for worker 2 at {silent} for ") for line in said)
    assert said[0].endswith(f" s {reason}")
    assert given_up[0].startswith(f"worker 2 at {silent} did not answer within ")
    assert given_up[0].endswith(f" s {reason}: start it.")
    assert answering not in given_up[0]


def test_a_task_that_answers_late_is_not_given_up() -> None:
    said: list[str] = []
    given_up: list[str] = []
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        watch = PeerWatch(
            others(address),
            timeout_seconds=30,
            report_seconds=0,
            say=said.append,
            give_up=given_up.append,
        )
        assert eventually(lambda: bool(said))  # Bound, but nobody listens yet.
        server.listen()
        assert eventually(lambda: not watch.is_watching)
    assert given_up == []


def test_of_many_silent_tasks_the_first_are_named() -> None:
    said: list[str] = []
    silent = [f"127.0.0.1:{port}" for port in free_ports(10)]
    with closing(PeerWatch(others(*silent), say=said.append, report_seconds=0)):
        assert eventually(lambda: bool(said))
    assert said[0].count("worker") == 8 and ", and 2 more for " in said[0]


def test_why_nobody_answers(answering: str) -> None:
    assert why_silent(answering) is None
    assert why_silent("no-such-host.invalid:1") == "no such host name"
    assert why_silent(f"127.0.0.1:{free_ports(1)[0]}") == "nothing listens there yet"


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (("worker", 0), ["chief 0", "worker 1"]),
        (("chief", 0), ["worker 0", "worker 1"]),
        (("evaluator", 0), []),
    ],
)
def test_whom_a_task_waits_for(own: tuple[str, int], expected: list[str]) -> None:
    jobs = {"chief": ("c:1",), "worker": ("a:1", "b:1"), "evaluator": ("e:1",)}
    assert [task.task_name for task in awaited_by(ClusterSpec(jobs, *own))] == expected


def test_a_chief_that_coordinates_does_not_listen() -> None:
    cluster = ClusterSpec({"chief": ("c:1",), "worker": ("a:1",), "ps": ("p:1",)}, "worker", 0)
    assert [task.task_name for task in awaited_by(cluster)] == ["ps 0"]


def test_a_single_task_waits_for_nobody() -> None:
    assert awaited_by(ClusterSpec.local()) == []
