"""Addresses that answer are done with; those that do not are named with the seconds waited."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.launch.launcher import eventually
from tfdml.cluster.ports import free_ports
from tfdml.launch.peers import PeerWatch


@pytest.fixture
def answering() -> Iterator[str]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_silent_hosts_are_reported_and_then_given_up(answering: str) -> None:
    silent = f"127.0.0.1:{free_ports(1)[0]}"
    said: list[str] = []
    given_up: list[str] = []
    watch = PeerWatch(
        [answering, silent],
        timeout_seconds=2.5,
        report_seconds=0.5,
        say=said.append,
        give_up=given_up.append,
    )
    with closing(watch):
        assert eventually(lambda: bool(given_up))
    assert said and all(line.startswith(f"waiting for {silent} (") for line in said)
    assert given_up[0].startswith(f"{silent} did not answer within ")
    assert answering not in given_up[0]


def test_a_host_that_answers_late_is_not_given_up() -> None:
    said: list[str] = []
    given_up: list[str] = []
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        watch = PeerWatch(
            [address],
            timeout_seconds=30,
            report_seconds=0,
            say=said.append,
            give_up=given_up.append,
        )
        assert eventually(lambda: bool(said))  # Bound, but nobody listens yet.
        server.listen()
        assert eventually(lambda: not watch.is_watching)
    assert given_up == []
