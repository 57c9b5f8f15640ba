"""Ports that are said to be free can be listened on; servers are waited for until they answer."""

from __future__ import annotations

import socket
import threading
import time

from tfdml.cluster.ports import answers, free_ports, is_free, wait_until_answers


def test_free_ports_are_distinct_and_free() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(is_free(port) for port in ports)


def test_a_port_with_a_listener_is_not_free() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert not is_free(server.getsockname()[1])


def test_waits_for_a_server_that_comes_later() -> None:
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    assert not answers(address)
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        timer = threading.Timer(0.3, server.listen)
        timer.start()
        begin = time.monotonic()
        assert wait_until_answers(address, timeout_seconds=30)
        assert time.monotonic() - begin >= 0.25
        timer.join()


def test_gives_up_on_a_server_that_never_comes() -> None:
    (port,) = free_ports(1)
    assert not wait_until_answers(f"127.0.0.1:{port}", timeout_seconds=0.1)
    assert not answers("no-such-host.invalid:1")
