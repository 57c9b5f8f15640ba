"""`tfdml launch --ssh` through a real sshd: on the loopback interface, and on a host of its own for training.

With keys made for the test, on a high port, as this user. Skipped where openssh-server is not installed.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.launch.launcher import MARK, Launcher, eventually, lines_of
from tests.launch.network import hosts
from tests.launch.scripts import TRAIN
from tests.launch.test_ssh import from_there
from tfdml.cluster.ports import answers, free_ports

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin")
pytestmark = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None,
    reason="needs sshd and ssh: apt-get install openssh-server openssh-client",
)
WAIT = """
    import pathlib, sys, time
    import os
    pathlib.Path(sys.argv[1], "ready-" + os.environ.get("SSH_CONNECTION", "here").split()[0]).touch()
    time.sleep(1000)
"""


@contextmanager
def server(directory: Path, port: int, within: Sequence[str] = ()) -> Iterator[str]:
    """An sshd, and the command that talks to it in place of plain `ssh`."""
    for name in ("host_key", "user_key"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(key, check=True)
    (directory / "authorized").write_text((directory / "user_key.pub").read_text())
    config = directory / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 0.0.0.0\nHostKey {directory}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {directory}/authorized\nStrictModes no\nUsePAM no\n"
        f"PasswordAuthentication no\nPermitRootLogin prohibit-password\nAcceptEnv {MARK}\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [*within, str(SSHD), "-D", "-e", "-f", str(config)],
        stderr=(directory / "sshd.log").open("w"),
    )
    client = ["ssh", "-F", "none", "-p", str(port), "-l", getpass.getuser()]
    options = {
        "IdentityFile": f"{directory}/user_key",
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "SendEnv": MARK,
    }
    try:
        if not within:
            assert eventually(lambda: answers(f"127.0.0.1:{port}"))
        yield " ".join([*client, *(f"-o {name}={value}" for name, value in options.items())])
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def through_sshd(launcher: Launcher, tmp_path: Path) -> Iterator[Launcher]:
    with server(tmp_path, free_ports(1)[0]) as command:
        launcher.variables["TFDML_SSH"] = command
        yield launcher


TWO = ("--hosts=127.0.0.1:1,127.0.0.2:1", "--node_index=0", "--ssh")


def test_the_same_command_runs_there(through_sshd: Launcher) -> None:
    script = through_sshd.script(
        """
        import json, os, sys
        print(json.dumps([os.getcwd(), sys.executable, sys.argv[1:], os.environ.get("SECRET")]))
        print("connection", "SSH_CONNECTION" in os.environ)
        """
    )
    through_sshd.variables["SECRET"] = "p 'q"
    result = through_sshd.run(*TWO, "--ssh_env=SECRET", script, "a b", "$HOME")
    assert result.returncode == 0, result.stdout + result.stderr
    here = lines_of(result.stdout, "worker 0")
    there = from_there(result.stdout, "127.0.0.2", "worker 1")
    assert here[0] == there[0]
    assert there[1] == "connection True"


def begin_waiting(launcher: Launcher) -> subprocess.Popen[str]:
    process = launcher.begin(*TWO, launcher.script(WAIT), str(launcher.directory))
    for host in ("here", "127.0.0.1"):
        launcher.wait_for(launcher.directory / f"ready-{host}")
    return process


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_launcher_ends_the_job_there(through_sshd: Launcher, signum: int) -> None:
    process = begin_waiting(through_sshd)
    process.send_signal(signum)
    result = through_sshd.finish(process)
    assert result.returncode == (-signum if signum == signal.SIGKILL else 128 + signum)
    through_sshd.expect_nothing_left()


def test_the_end_of_the_connection_ends_the_job_on_both_sides(through_sshd: Launcher) -> None:
    process = begin_waiting(through_sshd)
    (client,) = [p for p in through_sshd._marked() if p.name() == "ssh"]
    client.kill()
    result = through_sshd.finish(process)
    assert result.returncode == 128 + signal.SIGKILL
    assert "the ssh connection to 127.0.0.2 was ended by SIGKILL.\n" in result.stderr
    through_sshd.expect_nothing_left()


def test_a_key_that_is_not_accepted_is_one_sentence(through_sshd: Launcher) -> None:
    (through_sshd.directory / "authorized").write_text("")
    result = through_sshd.run(*TWO, through_sshd.script("import time; time.sleep(1000)"))
    assert result.returncode == 255
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("tfdml launch: 127.0.0.2 could not be reached by ssh (")
    assert "Permission denied (publickey" in last and last.endswith("without a question.")


def test_a_host_that_is_not_there_is_one_sentence(launcher: Launcher, tmp_path: Path) -> None:
    """Nobody has its address: the kernel says so after 3 s, and ssh would give up after 10 s by itself."""
    with hosts(tmp_path) as made:
        script = launcher.script("import time; time.sleep(1000)")
        flags = ("--hosts=n1:1,10.213.7.99:1", "--ssh", script)
        result = launcher.finish(launcher.begin(*flags, within=made[0].within))
        assert result.returncode == 255
        last = result.stderr.strip().splitlines()[-1]
        assert last.startswith(
            "tfdml launch: 10.213.7.99 could not be reached by ssh (ssh: connect to host "
        )
        assert "No route to host" in last
        launcher.expect_nothing_left()


@pytest.mark.slow
def test_two_hosts_train_that_are_started_from_one(launcher: Launcher, tmp_path: Path) -> None:
    with hosts(tmp_path) as made, server(tmp_path, 2200, within=made[1].within) as command:
        launcher.variables["TFDML_SSH"] = command
        flags = ("--hosts=n1:1,n2:1", "--ssh", "--ssh_env=CUDA_VISIBLE_DEVICES")
        process = launcher.begin(*flags, launcher.script(TRAIN), within=made[0].within)
        result = launcher.finish(process)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "1 task(s), start method spawn, n2 through ssh" in result.stderr
        for lines in (
            lines_of(result.stdout, "worker 0"),
            from_there(result.stdout, "n2", "worker 1"),
        ):
            assert "replicas 2" in lines
        launcher.expect_nothing_left()


@pytest.mark.slow
def test_a_host_that_is_cut_off_ends_the_job_on_both_sides(
    launcher: Launcher, tmp_path: Path
) -> None:
    """Here the ssh client gives up after 15 s; there nobody tells sshd, but training there loses its peer."""
    with hosts(tmp_path) as made, server(tmp_path, 2200, within=made[1].within) as command:
        launcher.variables["TFDML_SSH"] = command
        flags = ("--hosts=n1:1,n2:1", "--ssh", "--ssh_env=CUDA_VISIBLE_DEVICES")
        arguments = (*flags, launcher.script(TRAIN), "forever", str(launcher.directory))
        process = launcher.begin(*arguments, within=made[0].within)
        for index in (0, 1):
            launcher.wait_for(launcher.directory / f"worker-{index}")
        made[1].cut()
        result = launcher.finish(process)
        assert result.returncode != 0
        assert (
            "lost worker 1 (n2:12345)" in result.stderr or "connection to n2 broke" in result.stderr
        )
        assert eventually(lambda: not launcher.left(), seconds=30), launcher.left()
