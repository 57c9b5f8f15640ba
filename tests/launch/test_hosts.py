"""Several hosts: network namespaces, each with its own launcher, and hosts that stay silent."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launch.launcher import Launcher, lines_of
from tfdml.cluster.ports import free_ports


@pytest.fixture
def two_hosts() -> Iterator[list[tuple[str, str]]]:
    """(namespace, address) of two network namespaces that a cable joins."""
    tag = f"tfdml{os.getpid()}"
    hosts = [(f"{tag}a", "10.213.7.1"), (f"{tag}b", "10.213.7.2")]
    try:
        for name, _ in hosts:
            ip("netns", "add", name)
        cable = ("ve0", "netns", hosts[0][0], "type", "veth")
        ip("link", "add", *cable, "peer", "name", "ve0", "netns", hosts[1][0])
        for name, address in hosts:
            ip("-n", name, "address", "add", f"{address}/24", "dev", "ve0")
            ip("-n", name, "link", "set", "ve0", "up")
            ip("-n", name, "link", "set", "lo", "up")
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot make network namespaces here: {error}")
    else:
        yield hosts
    finally:
        for name, _ in hosts:
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL, check=False)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.mark.slow
def test_two_hosts_train_together(
    launcher: Launcher, two_hosts: list[tuple[str, str]], tmp_path: Path
) -> None:
    """The image classifier on the digits: one worker a host, the same command line but for the index."""
    root = Path(__file__).parents[2]
    hosts = ",".join(f"{address}:1" for _, address in two_hosts)
    processes = [
        launcher.begin(
            f"--hosts={hosts}",
            f"--node_index={index}",
            "--start_timeout_seconds=50",
            str(root / "recipes" / "train_image_classifier.py"),
            f"--config={root / 'configs' / 'image_classifier' / 'multi_worker.yaml'}",
            f"--model_dir={tmp_path}",
            "--set=train.epochs=4",
            within=["ip", "netns", "exec", name],
        )
        for index, (name, _) in enumerate(two_hosts)
    ]
    hashes = []
    for index, process in enumerate(processes):
        result = launcher.finish(process)
        assert result.returncode == 0, result.stdout + result.stderr
        lines = lines_of(result.stdout, f"worker {index}")
        hashes += [line for line in lines if line.startswith("final weights sha256: ")]
        if index == 0:
            (accuracy,) = [line for line in lines if line.startswith("test accuracy: ")]
            assert float(accuracy.split()[-1]) > 0.9
    assert len(hashes) == 2 and len(set(hashes)) == 1
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
    assert f"127.0.0.2:{port} did not answer within " in result.stderr
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
