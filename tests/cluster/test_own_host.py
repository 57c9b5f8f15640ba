"""This host is found in a list by its full name, by an address, or by a short name; never by a guess."""

from __future__ import annotations

import pytest

from tests.cluster.surroundings import around
from tfdml.cluster.own_host import find_own, own_addresses, own_name
from tfdml.cluster.resolver import Surroundings

# /proc/net/fib_trie of a machine with one interface, shortened.
FIB_TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.244.1.0/24 2 0 2
        |-- 10.244.1.0
           /24 link UNICAST
        |-- 10.244.1.7
           /32 host LOCAL
        |-- 10.244.1.255
           /32 link BROADCAST
Local:
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
"""


def test_the_addresses_of_the_interfaces() -> None:
    surroundings = around({}, files={"/proc/net/fib_trie": FIB_TRIE})
    assert own_addresses(surroundings) == {"10.244.1.7"}
    assert own_addresses(around({})) == set()


def test_the_real_kernel_answers() -> None:
    assert own_name(Surroundings({}))
    assert all(each.count(".") == 3 for each in own_addresses(Surroundings({})))


def test_the_kernels_name_goes_before_an_inherited_variable() -> None:
    assert own_name(around({"HOSTNAME": "login1"}, hostname="node7")) == "node7"
    assert own_name(around({"HOSTNAME": "login1"})) == "login1"


@pytest.mark.parametrize(
    ("hosts", "name", "position"),
    [
        (["n1", "n2"], "n2", 1),
        (["n1", "n2"], "n2.cluster.example.com", 1),
        (["n1.x", "n2.x"], "n2", 1),
        (["25a-n1", "25a-n2"], "25a-n2.cluster", 1),
        (["10.0.0.1", "10.244.1.7"], "anything", 1),
        (["n1", "n2"], "n3", None),
        (["n1.x", "n1.y"], "n1", None),
        (["n1.x", "n2.x"], "n2.y", None),
        (["10.0.0.1", "10.0.0.2"], "10", None),
        (["n1", "n1"], "n1", None),
        ([], "n1", None),
    ],
)
def test_finds_this_host_where_it_is_clear(
    hosts: list[str], name: str, position: int | None
) -> None:
    surroundings = around({}, hostname=name, files={"/proc/net/fib_trie": FIB_TRIE})
    assert find_own(hosts, surroundings) == position
