"""Names, connections and ports of the tasks: with real sockets, and in network namespaces."""

from __future__ import annotations

import errno
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.doctor import subjects
from tests.doctor.subjects import by_level, only, tf_config
from tfdml.cluster.ports import free_ports
from tfdml.doctor.checks import open_ports, peers
from tfdml.doctor.order import Check, run

OWN = socket.gethostname()


def check(environ):
    # The host in question is the first one; "127.0.0.1" and "localhost" are others by name.
    return run(Check(peers.NAME, peers.check, 60.0), subjects.make(environ))


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("", 0), backlog=512) as server:
        yield server.getsockname()[1]


def test_no_cluster():
    assert by_level(check({})) == {"ok": ["none but this process"]}


def test_a_task_that_listens_and_one_that_does_not_yet(listening):
    own, quiet = free_ports(2)
    levels = by_level(
        check(tf_config(f"{OWN}:{own}", f"localhost:{listening}", f"localhost:{quiet}"))
    )
    assert levels["ok"] == [
        f"port(s) {own} of this host are free",
        f"listening already: worker 1 at localhost:{listening}",
    ]
    assert levels["note"] == [
        f"reached, and nothing listens there yet, as before a job: worker 2 at localhost:{quiet}"
    ]
    assert "error" not in levels


def test_an_unknown_name():
    finding = only(check(tf_config(f"{OWN}:{free_ports(1)[0]}", "no-such-host.invalid:1")), "error")
    assert finding.text.startswith("worker 1: the name 'no-such-host.invalid' is unknown here (")
    assert "/etc/hosts" in finding.remedy


@pytest.mark.parametrize("name", ["a" * 64 + ".b", "x..y", "."])
def test_names_that_cannot_be(name):
    finding = only(check(tf_config(f"{OWN}:{free_ports(1)[0]}", f"{name}:1")), "error")
    assert "is unknown here" in finding.text


def test_a_port_that_is_taken(listening):
    finding = only(check(tf_config(f"{OWN}:{listening}", f"localhost:{free_ports(1)[0]}")), "error")
    assert f"port {listening} of this host, for worker 0, is taken" in finding.text
    assert f"ss -ltnp 'sport = :{listening}'" in finding.remedy


def test_a_name_that_means_this_host_itself(monkeypatch):
    """As Debian's /etc/hosts has it, for a host that thinks it is another one."""
    monkeypatch.setattr(peers.socket, "getaddrinfo", lambda *_: [(0, 0, 0, "", ("127.0.1.1", 1))])
    finding = only(check(tf_config(f"{OWN}:{free_ports(1)[0]}", "other:1")), "error")
    assert "the name 'other' means 127.0.1.1, which is this host itself" in finding.text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "does not answer (nothing came back within 2 s)"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "cannot be reached (No route to host)"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "cannot be reached"),
        (OSError(errno.ECONNRESET, "Connection reset"), "does not answer (Connection reset)"),
    ],
)
def test_hosts_that_do_not_answer(monkeypatch, error, words):
    def connect(*_):
        raise error

    monkeypatch.setattr(peers.socket, "create_connection", connect)
    finding = only(check(tf_config(f"{OWN}:{free_ports(1)[0]}", "192.0.2.77:2222")), "error")
    assert f"worker 1 at 192.0.2.77:2222 {words}" in finding.text
    assert "docs/cluster-secure.md" in finding.remedy


def test_a_name_server_that_hangs_is_bounded(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(peers, "NAME_SECONDS", 0.1)
    monkeypatch.setattr(peers, "CONNECT_SECONDS", 0.1)
    real = socket.getaddrinfo
    slow = lambda host, *rest, **named: (
        release.wait() if host == "slow" else real(host, *rest, **named)
    )
    monkeypatch.setattr(peers.socket, "getaddrinfo", slow)
    finding = only(check(tf_config(f"{OWN}:{free_ports(1)[0]}", "slow:1")), "error")
    release.set()
    assert "worker 1 at slow:1 does not answer (no answer about it in 0.1 s)" in finding.text


def test_many_tasks_are_looked_at_at_once(listening):
    tasks = [f"127.0.0.{n}:{listening}" for n in range(2, 150)]
    levels = by_level(check(tf_config(f"{OWN}:{free_ports(1)[0]}", *tasks)))
    assert levels.keys() == {"ok"} and levels["ok"][-1].startswith("listening already: worker 1 at")


def test_a_task_on_another_host_than_its_own():
    finding = only(check(tf_config("192.0.2.200:1", f"localhost:{free_ports(1)[0]}")), "warning")
    assert (
        "to be found at '192.0.2.200', which means 192.0.2.200, no address of this host"
        in finding.text
    )


def test_a_task_whose_own_name_is_unknown():
    finding = only(
        check(tf_config("no-such-host.invalid:1", f"localhost:{free_ports(1)[0]}")), "error"
    )
    assert "this task's own name 'no-such-host.invalid' is unknown here" in finding.text


# -- who can reach the ports


def test_ports_are_open_to_the_networks_of_this_host(monkeypatch):
    monkeypatch.setattr(open_ports, "reachable_addresses", lambda: ([], ["10.0.0.5"]))
    environ = tf_config("a:2222", "a:2223", "b:2222")
    finding = only(open_ports.check(subjects.make(environ)), "note")
    assert finding.text == (
        "a job opens port(s) 2222, 2223 on every interface, and TensorFlow's server asks nobody who they "
        "are: open to the networks of 10.0.0.5"
    )


def test_a_public_address_is_a_warning(monkeypatch):
    monkeypatch.setattr(open_ports, "reachable_addresses", lambda: (["8.8.8.8"], ["10.0.0.5"]))
    finding = only(open_ports.check(subjects.make({})), "warning")
    assert "8.8.8.8 is public" in finding.text and "cluster-secure.md" in finding.remedy


def test_a_host_without_network(monkeypatch):
    monkeypatch.setattr(open_ports, "reachable_addresses", lambda: ([], []))
    assert only(open_ports.check(subjects.make({})), "ok")


@pytest.mark.skipif(not all(map(shutil.which, ("ip", "unshare"))), reason="needs ip and unshare")
def test_addresses_of_real_interfaces():
    script = """
ip link add one type veth peer name two && ip link set one up && ip link set two up &&
ip address add 10.9.9.9/24 dev one && ip address add 8.8.4.4/32 dev one &&
ip link add three type veth peer name four && ip address add 10.8.8.8/24 dev three && exec "$0" -c "$1"
"""
    code = "import json; from tfdml.cluster.interfaces import reachable_addresses as r; print(json.dumps(r()))"
    command = ["unshare", "-rn", "sh", "-c", script, sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this machine lets nobody make network namespaces: {done.stderr.strip()}")
    assert json.loads(done.stdout) == [["8.8.4.4"], ["10.9.9.9"]]  # `three` is down.
