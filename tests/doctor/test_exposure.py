"""What docs/cluster-secure.md says of open ports, tried: TensorFlow's server, and the fences around it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import tfdml
from tests.docs.guides import code_blocks
from tests.processes import wait_for_file
from tfdml.cluster.interfaces import reachable_addresses
from tfdml.errors import ConfigError
from tfdml.testing import start_workers

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cluster-secure.md").read_text()
PORT = 12345
LISTEN = """
import socket, sys
with socket.create_server(("", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True) as server:
    print("ready", flush=True)
    while True:
        server.accept()[0].close()
"""
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2).close()
    print("in")
except OSError as error:
    print(type(error).__name__)
"""

# Other users may not enter the directories of this one, where its own Python may be.
SYSTEM_PYTHON = shutil.which("python3", path="/usr/bin:/bin")


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """Three hosts, as network namespaces; the first one listens on PORT."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from limited_link import Link

    try:
        with Link(3) as link:
            server = link.start(
                0, [sys.executable, "-c", LISTEN, str(PORT)], stdout=subprocess.PIPE, text=True
            )
            assert server.stdout.readline() == "ready\n"
            yield link
    except ConfigError as error:
        pytest.skip(str(error))


def output(link, index: int, *command: str, stdin: str = "") -> str:
    process = link.start(
        index,
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    text, _ = process.communicate(stdin)
    assert process.returncode == 0, text
    return text.strip()


def reaches(link, index: int, address: str | None = None) -> str:
    address = address or link.addresses[0]
    return output(link, index, sys.executable, "-c", CONNECT, address, str(PORT))


def fences(link) -> dict[str, tuple[list[str], str]]:
    """The page's two ways to let in the second host only: what to run, and what it reads."""
    peer = f"{link.addresses[1]}/32"
    nft = next(block for block in code_blocks(PAGE, "nft") if "set hosts" in block)
    iptables = next(block for block in code_blocks(PAGE, "sh") if "iptables" in block)
    for_ipv6 = [line for line in iptables.splitlines() if "10.0.0.0" not in line]
    iptables += "\n".join(for_ipv6).replace("iptables", "ip6tables")
    return {
        "nft": (["nft", "-f", "-"], nft.replace("10.0.0.0/24", peer)),
        "iptables": (["sh", "-e"], iptables.replace("10.0.0.0/24", peer)),
    }


@pytest.mark.parametrize("tool", ["nft", "iptables"])
def test_a_fence_lets_in_the_jobs_hosts_only(hosts, tool):
    if shutil.which(tool) is None:
        pytest.skip(f"needs {tool}")
    assert reaches(hosts, 1) == reaches(hosts, 2) == "in"
    command, text = fences(hosts)[tool]
    for _ in range(2 if tool == "nft" else 1):  # The file says that it can be loaded again.
        output(hosts, 0, *command, stdin=text)
    assert reaches(hosts, 0) == reaches(hosts, 0, "127.0.0.1") == reaches(hosts, 1) == "in"
    assert reaches(hosts, 2) == "TimeoutError"


@pytest.mark.skipif(not all(map(shutil.which, ("nft", "nmap"))), reason="needs nft and nmap")
def test_nmap_sees_the_port_and_the_fence(hosts):
    (line,) = re.findall(r"^nmap (.*) HOST", PAGE, re.M)
    command = ["nmap", *line.split(), hosts.addresses[0]]
    # The whole range takes a minute where packets are dropped.
    command[command.index("2222,8470,12000-28383")] = f"2222,{PORT}"
    assert f"{PORT}/tcp open" in output(hosts, 2, *command)
    fence, text = fences(hosts)["nft"]
    output(hosts, 0, *fence, stdin=text)
    assert f"{PORT}/tcp filtered" in output(hosts, 2, *command)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
@pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft")
@pytest.mark.skipif(not SYSTEM_PYTHON, reason="needs a python3 of the system, for other users")
def test_ports_of_one_user(hosts):
    (rules,) = [block for block in code_blocks(PAGE, "nft") if "skuid" in block]
    output(hosts, 0, "nft", "-f", "-", stdin=rules)

    def as_user(number: int) -> str:
        user = ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups"]
        return output(hosts, 0, *user, SYSTEM_PYTHON, "-c", CONNECT, "127.0.0.1", str(PORT))

    assert as_user(1000) == "in"
    assert as_user(1001) == "ConnectionRefusedError"


def test_ss_shows_every_interface(hosts):
    if shutil.which("ss") is None:
        pytest.skip("needs ss")
    assert "ss -ltnp" in PAGE
    assert f"*:{PORT}" in output(hosts, 0, "ss", "-ltnp")


# -- TensorFlow itself


def serve(directory: str) -> list[str]:
    """A task of a job, until the file `stop` is there; on which addresses it listens."""
    tfdml.strategies.create("multi_worker", tfdml.cluster.resolve())
    listening = [
        connection.laddr.ip
        for connection in psutil.Process().net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    Path(directory, f"ready{os.getpid()}").touch()
    wait_for_file(Path(directory, "stop"))
    return listening


@pytest.mark.slow
def test_tensorflows_server_listens_everywhere_and_runs_what_strangers_send(tmp_path):
    (script,) = code_blocks(PAGE, "python")
    secret = tmp_path / "secret"
    secret.write_text("only for this user")
    addresses = [a for kind in reachable_addresses() for a in kind if ":" not in a]
    if not addresses:
        pytest.skip("this host has no address but the loopback interface's")
    with start_workers(serve, 2, (str(tmp_path),)) as workers:
        while len(list(tmp_path.glob("ready*"))) < 2:
            time.sleep(0.05)
        port = next(  # The cluster names localhost; this is another interface's address.
            connection.laddr.port
            for connection in psutil.Process(workers[0].pid).net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        )
        stranger = script.replace("HOST:PORT", f"{addresses[0]}:{port}")
        stranger = stranger.replace("/etc/hostname", str(secret))
        environ = {name: text for name, text in os.environ.items() if not name.endswith("_proxy")}
        done = subprocess.run(
            [sys.executable, "-c", stranger],
            capture_output=True,
            text=True,
            timeout=100,
            env=environ,
        )
        (tmp_path / "stop").touch()
        listening = workers.wait()
    assert done.stdout.strip() == "b'only for this user'", done.stderr[-2000:]
    assert listening == [["::"], ["::"]]


TRAIN = """
import tfdml
from tfdml.training.agreement import Agreement

strategy = tfdml.strategies.create("multi_worker", tfdml.cluster.resolve())
print("together", sum(Agreement(strategy).of_each(1.0)), flush=True)
"""


@pytest.mark.slow
def test_a_job_in_a_network_of_its_own(tmp_path):
    (line,) = re.findall(r"^unshare .*$", PAGE, re.M)
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody make network namespaces")
    (tmp_path / "train.py").write_text(TRAIN)
    python = Path(tmp_path, "python")  # A path without a space, also where the checkout's has one.
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    script = line.replace("tfdml launch", f"{python} -m tfdml launch")
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, timeout=200, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("together 2.0") == 2


def test_a_process_in_such_a_network_is_seen_by_nobody():
    """What `reachable_addresses`, and so doctor, says there."""
    code = "from tfdml.cluster.interfaces import reachable_addresses; print(reachable_addresses())"
    command = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$0" -c "$1"']
    done = subprocess.run([*command, sys.executable, code], capture_output=True, text=True)
    if "unshare:" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.stdout.strip() == "([], [])"


# -- the page


def test_ports_are_those_of_the_code():
    from tfdml.cluster import kubernetes, resolver, slurm, tpu

    last = slurm._FIRST_PORT + slurm._PORTS_PER_STEP * slurm._STEPS - 1
    assert f"between {slurm._FIRST_PORT} and {last}" in PAGE
    assert f"| {resolver.DEFAULT_PORT}, or" in PAGE
    assert f"| {kubernetes.DEFAULT_PORT} |" in PAGE and f"| {tpu.DEFAULT_PORT} |" in PAGE


def test_doctor_and_launch_point_here():
    from tfdml.doctor.checks import open_ports
    from tfdml.launch import exposure

    assert "docs/cluster-secure.md" in open_ports.REMEDY
    assert exposure.WHERE == "docs/cluster-secure.md"
