"""Free ports on the loopback interface."""

from __future__ import annotations

import random
import socket

# Below the range from which the kernel takes ports for outgoing connections: a port found free
# there could be taken by a sibling's connection before the task listens on it.
_LOWEST, _HIGHEST = 15_000, 32_000


def free_ports(count: int) -> list[int]:
    """`count` different ports that nothing listens on at this moment."""
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            candidate = socket.socket()
            try:
                candidate.bind(("127.0.0.1", random.SystemRandom().randint(_LOWEST, _HIGHEST)))
            except OSError:
                candidate.close()
            else:
                sockets.append(candidate)
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()
