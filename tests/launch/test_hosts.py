"""Several hosts: network namespaces, each with its own launcher, and hosts that stay silent."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launch.launcher import Launcher, lines_of
from tests.launch.network import Host, hosts
from tfdml.cluster.ports import free_ports


@pytest.fixture
def two_hosts(tmp_path: Path) -> Iterator[list[Host]]:
    with hosts(tmp_path) as made:
        yield made


@pytest.mark.slow
def test_two_hosts_train_together(
    launcher: Launcher, two_hosts: list[Host], tmp_path: Path
) -> None:
    """The image classifier on the digits: one worker a host, the same command line on both."""
    root = Path(__file__).parents[2]
    hostfile = tmp_path / "hosts.txt"
    hostfile.write_text("".join(f"{host.name} slots=1\n" for host in two_hosts))
    processes = [
        launcher.begin(
            f"--hostfile={hostfile}",
            "--start_timeout_seconds=50",
            str(root / "recipes" / "train_image_classifier.py"),
            f"--config={root / 'configs' / 'image_classifier' / 'multi_worker.yaml'}",
            f"--model_dir={tmp_path}",
            "--set=train.epochs=4",
            within=host.within,
        )
        for host in two_hosts
    ]
    hashes = []
    for index, process in enumerate(processes):
        result = launcher.finish(process)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "port 12345 of this host is open to everybody who can reach 10.213." in result.stderr
        lines = lines_of(result.stdout, f"worker {index}")
        hashes += [line for line in lines if line.startswith("final weights sha256: ")]
        if index == 0:
            (accuracy,) = [line for line in lines if line.startswith("test accuracy: ")]
            assert float(accuracy.split()[-1]) > 0.9
    assert len(hashes) == 2 and len(set(hashes)) == 1
    launcher.expect_nothing_left()


@pytest.mark.slow
def test_hosts_with_different_scripts_do_not_train(
    launcher: Launcher, two_hosts: list[Host]
) -> None:
    """One host has a file that was changed since: both say so, by one sentence, before any step."""
    create = "import tfdml\nwith tfdml.errors.exit_on_user_error():\n"
    create += "    tfdml.strategies.create('multi_worker', tfdml.cluster.resolve())\n    print('created')\n"
    scripts = [launcher.script(create), launcher.script(create + "# Changed.\n", "other.py")]
    processes = [
        launcher.begin("--hosts=n1,n2", script, within=host.within)
        for host, script in zip(two_hosts, scripts, strict=True)
    ]
    for index, process in enumerate(processes):
        result = launcher.finish(process)
        assert result.returncode == 2, result.stderr
        found = f"worker {index} failed with exit status 2; its last lines:\n  error: tasks differ in script "
        assert found in result.stderr
        assert (
            " on worker 0 (n1:12345); " in result.stderr
            and " on worker 1 (n2:12345)." in result.stderr
        )
        assert "created" not in result.stdout
    launcher.expect_nothing_left()


def test_a_host_that_does_not_answer_is_named(launcher: Launcher) -> None:
    script = launcher.script("import time; print('waiting', flush=True); time.sleep(1000)")
    (port,) = free_ports(1)
    result = launcher.run(
        "--hosts=127.0.0.1:1,127.0.0.2:1",
        "--node_index=0",
        f"--base_port={port}",
        "--start_timeout_seconds=1",
        script,
    )
    assert result.returncode == 1
    assert f"worker 1 at 127.0.0.2:{port} did not answer within " in result.stderr
    assert "(nothing listens there yet): start the same line there" in result.stderr
    assert f"127.0.0.1:{port}" not in result.stderr
    assert lines_of(result.stdout, "worker 0") == ["waiting"]


def test_a_port_that_is_taken_is_told_before_anything_starts(launcher: Launcher) -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        result = launcher.run(
            "--hosts=127.0.0.1:1,127.0.0.2:1",
            "--node_index=1",
            f"--base_port={port}",
            launcher.script("print('was started')"),
        )
    assert result.returncode == 2
    assert f"port {port} of this host is taken" in result.stderr and "--base_port" in result.stderr
    assert result.stderr.count("\n") == 1 and result.stdout == ""
