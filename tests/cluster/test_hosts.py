"""Plain lists of hosts and host files: who is where, and which of the hosts this one is."""

from __future__ import annotations

import pytest

from tests.cluster.surroundings import around, place, reason, refused, winner
from tfdml.cluster import hosts
from tfdml.cluster.hosts import Host, parse_file, parse_list
from tfdml.errors import ClusterError

# open-mpi.org, FAQ, "Running MPI jobs": an example of a host file.
OPEN_MPI_FILE = """
# This is an example hostfile.  Comments begin with #
#
# The following node is a single processor machine:
foo.example.com

# The following node is a dual-processor machine:
bar.example.com slots=2

# The following node is a quad-processor machine, and we absolutely
# want to disallow over-subscribing it:
yow.example.com slots=4 max-slots=4
"""
# The form of Hydra (MPICH, Intel MPI), host:processes.
HYDRA_FILE = "donner:2\nfoo:4\nshakey\n"
# What $PBS_NODEFILE names: a host once for each of its processors.
PBS_FILE = "r1i0n3\nr1i0n3\nr1i0n7\nr1i0n7\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OPEN_MPI_FILE, [("foo.example.com", 1), ("bar.example.com", 2), ("yow.example.com", 4)]),
        (HYDRA_FILE, [("donner", 2), ("foo", 4), ("shakey", 1)]),
        (PBS_FILE, [("r1i0n3", 2), ("r1i0n7", 2)]),
        ("a max_slots=4\nb slots = 3\n", [("a", 1), ("b", 3)]),
        ("[fd00::1]:2  # an address\n", [("fd00::1", 2)]),
    ],
)
def test_host_files(text: str, expected: list[tuple[str, int]]) -> None:
    assert parse_file(text, "hosts") == tuple(Host(*each) for each in expected)


def test_host_lists() -> None:
    assert parse_list("a:2, b", "TFDML_HOSTS") == (Host("a", 2), Host("b", 1))
    assert parse_list("10.0.0.4:8,[fd00::1]", "x") == (Host("10.0.0.4", 8), Host("fd00::1"))


@pytest.mark.parametrize(
    "text", ["", "a:", ":2", "a:0", "a:x", "a,,b", "a b", "fd00::1", "a:2:3", "a[1"]
)
def test_what_is_no_host_list(text: str) -> None:
    with pytest.raises(ClusterError, match=r"TFDML_HOSTS must be HOST or HOST:TASKS .* got '"):
        parse_list(text, "TFDML_HOSTS")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# nobody\n\n", "hosts.txt names no host: write one a line"),
        (
            "a\nb cpus=2\n",
            "hosts.txt, line 2, must be like `a`, `a slots=2` or `a:2`, got 'b cpus=2'",
        ),
        ("a\n:2\n", "hosts.txt, line 2 must be HOST or HOST:TASKS"),
    ],
)
def test_what_is_no_host_file(text: str, message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        parse_file(text, "hosts.txt")


def test_a_task_on_each_of_two_hosts() -> None:
    environ = {"TFDML_HOSTS": "a,b"}
    for index, name in enumerate(["a", "b.example.com"]):
        surroundings = around(environ, hostname=name)
        found = place(hosts.find, surroundings)
        assert found.cluster.jobs == {"worker": ("a:12345", "b:12345")}
        assert found.cluster.task_index == index
        assert winner(surroundings) == "hosts"


def test_hosts_by_their_addresses() -> None:
    table = "           |-- 10.0.0.5\n              /32 host LOCAL\n           |-- 127.0.0.1\n"
    surroundings = around(
        {"TFDML_HOSTS": "10.0.0.4,10.0.0.5"}, hostname="gpu7", files={"/proc/net/fib_trie": table}
    )
    assert place(hosts.find, surroundings).cluster.task_index == 1


def test_several_tasks_on_a_host() -> None:
    files = {"hosts.txt": "a slots=2\nb slots=2\n"}
    environ = {"TFDML_HOSTFILE": "hosts.txt", "TFDML_NODE_INDEX": "1", "TFDML_LOCAL_INDEX": "1"}
    found = place(hosts.find, around({**environ, "TFDML_CLUSTER_PORT": "5000"}, files=files))
    assert found.cluster.jobs["worker"] == ("a:5000", "a:5001", "b:5000", "b:5001")
    assert found.cluster.address == "b:5001"
    assert (found.local_index, found.tasks_on_host) == (1, 2)


def test_ipv6_addresses_get_brackets() -> None:
    environ = {"TFDML_HOSTS": "[fd00::1],[fd00::2]", "TFDML_NODE_INDEX": "0"}
    assert place(hosts.find, around(environ)).cluster.address == "[fd00::1]:12345"
    assert place(hosts.find, around(environ)).host == "fd00::1"


def test_a_single_task_needs_no_cluster() -> None:
    assert place(hosts.find, around({"TFDML_HOSTS": "a"})).cluster.is_local


def test_without_a_list_it_does_not_apply() -> None:
    assert reason(hosts.find, around({})) == "neither TFDML_HOSTS nor TFDML_HOSTFILE is set"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"TFDML_HOSTS": "a", "TFDML_HOSTFILE": "h"}, "are both set: unset one"),
        ({"TFDML_HOSTFILE": "h"}, "TFDML_HOSTFILE=h cannot be read"),
        (
            {"TFDML_HOSTS": "a,b"},
            "none of the hosts a, b is clearly this one, c: set TFDML_NODE_INDEX",
        ),
        ({"TFDML_HOSTS": "c.x,c.y"}, "none of the hosts c.x, c.y is clearly this one"),
        (
            {"TFDML_HOSTS": "a,b", "TFDML_NODE_INDEX": "2"},
            r"there are 2 host\(s\), a, b: .* 0 to 1",
        ),
        ({"TFDML_HOSTS": "c:2"}, "host c has 2 tasks, and TFDML_LOCAL_INDEX, .* is not set"),
        (
            {"TFDML_HOSTS": "c:2", "TFDML_LOCAL_INDEX": "2"},
            r"host c has 2 task\(s\): .* from 0 to 1",
        ),
        (
            {"TFDML_HOSTS": "a,c", "TFDML_CLUSTER_EVALUATOR": "2"},
            "EVALUATOR must be .* from 0 to 1",
        ),
    ],
)
def test_broken_lists(environ: dict[str, str], message: str) -> None:
    refused(hosts.find, around(environ, hostname="c"), message)
