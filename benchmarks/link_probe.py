"""One end of a plain TCP connection that is timed: what `linkbench.check_link` starts in two namespaces.

`receive PORT` answers each message with one byte as soon as it is all there; `send HOST PORT IDLE_SECONDS SIZE...`
sends messages of SIZE bytes after idle gaps and prints the seconds until each answer, as a JSON list. Needs the
standard library only.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time

LENGTH = struct.Struct("!Q")
CHUNK = 1 << 20


def main(arguments: list[str]) -> None:
    if arguments[0] == "receive":
        receive(int(arguments[1]))
    else:
        _, host, port, idle_seconds, *sizes = arguments
        seconds = send(host, int(port), float(idle_seconds), [int(size) for size in sizes])
        print(json.dumps(seconds), flush=True)


def receive(port: int) -> None:
    with socket.create_server(("", port)) as server:
        print("listening", flush=True)
        connection, _ = server.accept()
    buffer = bytearray(CHUNK)
    with connection:
        while header := connection.recv(LENGTH.size, socket.MSG_WAITALL):
            (left,) = LENGTH.unpack(header)
            while left:
                count = connection.recv_into(buffer, min(left, CHUNK))
                if not count:
                    return
                left -= count
            connection.sendall(b"x")


def send(host: str, port: int, idle_seconds: float, sizes: list[int]) -> list[float]:
    seconds = []
    with socket.create_connection((host, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for size in sizes:
            message = LENGTH.pack(size) + bytes(size)
            time.sleep(idle_seconds)
            begin = time.perf_counter()
            connection.sendall(message)
            if not connection.recv(1):
                raise ConnectionError("the receiver closed the connection")
            seconds.append(time.perf_counter() - begin)
    return seconds


if __name__ == "__main__":
    main(sys.argv[1:])
