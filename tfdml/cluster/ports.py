"""Free ports on this host, and servers that answer, here or elsewhere."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack


def free_ports(count: int) -> list[int]:
    """`count` distinct TCP ports that nobody listens on now.

    Somebody else may take one before it is used; whoever starts a server on it has to expect that.
    """
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(
                ("", 0)
            )  # TensorFlow's server listens on all interfaces, so all must be free.
        return [each.getsockname()[1] for each in sockets]


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` on all interfaces now."""
    with socket.socket() as probe:
        # As servers do, so that a port whose last connections are still closing counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def answers(address: str, *, timeout_seconds: float = 2.0) -> bool:
    """Whether a server accepts a connection at `address`, a host and a port."""
    host, _, port = address.rpartition(":")
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), timeout_seconds)
    except OSError:
        return False
    connection.close()
    return True


def wait_until_answers(
    address: str, *, timeout_seconds: float, retry_seconds: float = 0.01
) -> bool:
    """Wait for a server to accept a connection at `address`; whether it did within the timeout."""
    deadline = time.monotonic() + timeout_seconds
    while not answers(address):
        if time.monotonic() > deadline:
            return False
        time.sleep(retry_seconds)
    return True
