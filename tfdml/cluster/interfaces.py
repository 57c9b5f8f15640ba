"""The addresses at which other machines reach this host, public ones apart from private ones."""

from __future__ import annotations

import ipaddress
import socket

import psutil


def reachable_addresses() -> tuple[list[str], list[str]]:
    """Public and private addresses of the interfaces that are up; without loopback and link-local."""
    up = {name for name, status in psutil.net_if_stats().items() if status.isup}
    public: list[str] = []
    private: list[str] = []
    for name, addresses in psutil.net_if_addrs().items():
        for entry in addresses:
            if name not in up or entry.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            address = ipaddress.ip_address(entry.address.partition("%")[0])
            if address.is_loopback or address.is_link_local:
                continue
            (public if address.is_global else private).append(str(address))
    return public, private
