"""How fast this process can send to each of its peers, as the kernel's TCP has measured.

For every connection the kernel keeps the rate at which the other side last acknowledged data (`tcpi_delivery_rate`,
include/uapi/linux/tcp.h; Cheng, Cardwell et al., "Delivery Rate Estimation", an Internet-Draft), and the bytes that
were acknowledged in all. So the speed of the link is known without a message or a byte of one's own. How long
data was under way (`tcpi_busy_time`) is known, too, but says less: acknowledgements wait behind the data of the
other direction.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

_INFO_BYTES = 256
_BYTES_ACKED, _DELIVERY_RATE = 120, 160  # offsets of 64-bit counters in `struct tcp_info`
# Less than this since the last time says more of latency than of speed.
_LEAST_BYTES = 64 * 2**10

# (peer, its port, own port)
Connection = tuple[str, int, int]


class LinkSpeed:
    """Speeds since the last time they were asked for.

    Args:
        addresses: "host:port" of every task, in their order; own: the number of this one.

    Attributes:
        sent_bytes: how many were, to other hosts, between the last two times.
    """

    def __init__(self, addresses: Sequence[str], own: int):
        self._hosts = [
            _addresses_of(address.rpartition(":")[0].strip("[]")) for address in addresses
        ]
        self._own = own
        self._before = self._counters()
        self.sent_bytes = 0

    def read(self) -> np.ndarray:
        """[tasks] bytes a second to each; 0 where too little was sent, and within this host, where there is no link.

        Tasks of another host share what goes there.
        """
        now, before = self._counters(), self._before
        self._before = now
        sent = {
            connection: acked - before.get(connection, (0, 0))[0]
            for connection, (acked, _) in now.items()
        }
        rates = np.zeros(len(self._hosts))
        self.sent_bytes = 0
        for number, hosts in enumerate(self._hosts):
            to_it = [connection for connection in now if connection[0] in hosts]
            if hosts & self._hosts[self._own] or not to_it:
                continue
            self.sent_bytes += sum(sent[connection] for connection in to_it)
            busiest = max(to_it, key=lambda connection: sent[connection])
            if sent[busiest] >= _LEAST_BYTES:
                rates[number] = now[busiest][1]
        return rates

    def _counters(self) -> dict[Connection, tuple[int, int]]:
        """(bytes acknowledged, bytes a second) of every TCP connection of this process."""
        found = {}
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError, ValueError):  # closed meanwhile, or no TCP
                descriptor = int(name)
                if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                    continue
                with socket.socket(fileno=os.dup(descriptor)) as connection:
                    if connection.family not in (socket.AF_INET, socket.AF_INET6):
                        continue
                    peer, port = connection.getpeername()[:2]
                    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
                    own_port = connection.getsockname()[1]
                if len(info) >= _DELIVERY_RATE + 8:
                    numbers = [
                        struct.unpack_from("<Q", info, offset)[0]
                        for offset in (_BYTES_ACKED, _DELIVERY_RATE)
                    ]
                    found[peer.removeprefix("::ffff:"), port, own_port] = (numbers[0], numbers[1])
        return found


def _addresses_of(host: str) -> frozenset[str]:
    with suppress(OSError):
        return frozenset(str(info[4][0]) for info in socket.getaddrinfo(host, None))
    return frozenset([host])
