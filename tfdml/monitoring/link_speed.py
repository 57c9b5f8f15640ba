"""How fast this process sends to each of its peers, as the kernel's TCP has counted.

For every connection the kernel adds up the time in which there was something sent and not acknowledged, or something
that had to wait (`tcpi_busy_time`), and the bytes that were acknowledged (include/uapi/linux/tcp.h). Their
quotient is the speed of the link while it was used, however rarely that was, without a message or a byte of one's
own. The receiver's being slow (`tcpi_rwnd_limited`) is no fault of the link and is taken off.
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
_BYTES_ACKED, _BUSY_TIME, _RWND_LIMITED = (
    120,
    168,
    176,
)  # offsets of 64-bit counters in `struct tcp_info`
# Less than this since the last time says more of latency than of speed.
_LEAST_BYTES = 64 * 2**10


class LinkSpeed:
    """Speeds since the last time they were asked for.

    Args:
        addresses: "host:port" of every task, in their order; own: the number of this one.
    """

    def __init__(self, addresses: Sequence[str], own: int):
        self._hosts = [
            _addresses_of(address.rpartition(":")[0].strip("[]")) for address in addresses
        ]
        self._own = own
        self._before = self._counters()

    def read(self) -> np.ndarray:
        """[tasks] bytes a second to each; 0 where too little was sent, and within this host, where there is no link.

        Tasks of another host share what goes there.
        """
        now, before = self._counters(), self._before
        self._before = now
        sent: dict[str, int] = {}
        busy: dict[str, int] = {}
        for connection, (peer, acked, microseconds) in now.items():
            _, acked_before, busy_before = before.get(connection, (peer, 0, 0))
            sent[peer] = sent.get(peer, 0) + acked - acked_before
            busy[peer] = busy.get(peer, 0) + microseconds - busy_before
        rates = np.zeros(len(self._hosts))
        for number, hosts in enumerate(self._hosts):
            if hosts & self._hosts[self._own]:
                continue
            num_bytes = sum(sent.get(host, 0) for host in hosts)
            seconds = sum(busy.get(host, 0) for host in hosts) / 1e6
            if num_bytes >= _LEAST_BYTES and seconds > 0:
                rates[number] = num_bytes / seconds
        return rates

    def _counters(self) -> dict[tuple[str, int, int], tuple[str, int, int]]:
        """(peer, port, own port) -> (peer, bytes acknowledged, microseconds), of all TCP connections."""
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
                if len(info) < _RWND_LIMITED + 8:
                    continue
                acked, busy, limited = (
                    struct.unpack_from("<Q", info, offset)[0]
                    for offset in (_BYTES_ACKED, _BUSY_TIME, _RWND_LIMITED)
                )
                peer = peer.removeprefix("::ffff:")
                found[peer, port, own_port] = (peer, acked, max(busy - limited, 0))
        return found


def _addresses_of(host: str) -> frozenset[str]:
    with suppress(OSError):
        return frozenset(str(info[4][0]) for info in socket.getaddrinfo(host, None))
    return frozenset([host])
