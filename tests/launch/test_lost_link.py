"""A link that goes down while two hosts train: both sides name the other one, end within a bound, leave nothing.

The bound is 30 s: TensorFlow's heartbeats give up after 10 s, the probe of `tfdml/strategies/peer_probe.py`
after 20 s, and a process takes some seconds to end. Here it is the time limit of the launchers' ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.launch import launcher as launcher_module
from tests.launch.launcher import MARK, Launcher, lines_of
from tests.launch.network import Host, hosts
from tests.launch.scripts import TRAIN
from tests.launch.test_platforms import PLATFORMS

pytestmark = pytest.mark.slow
BOUND_SECONDS = 30.0


def begin(launcher: Launcher, made: Sequence[Host], name: str) -> list[subprocess.Popen[str]]:
    """A launcher on each host, and both tasks in the middle of their training."""
    script = launcher.script(TRAIN)
    processes = []
    for host, environment in zip(made, PLATFORMS[name].each, strict=True):
        launcher.variables = {"TFDML_CLUSTER": "", **environment}
        arguments = (script, "forever", str(launcher.directory))
        processes.append(launcher.begin(*arguments, within=host.within))
    for task in PLATFORMS[name].tasks:
        launcher.wait_for(launcher.directory / task.replace(" ", "-"))
    return processes


@pytest.mark.parametrize("name", ["slurm", "kubernetes", "mpi", "kubeflow"])
def test_both_launchers_name_the_other_task(
    launcher: Launcher, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = PLATFORMS[name]
    with hosts(tmp_path, platform.names, platform.also) as made:
        processes = begin(launcher, made, name)
        made[1].cut()
        monkeypatch.setattr(launcher_module, "SECONDS", BOUND_SECONDS)
        for own, process in enumerate(processes):
            result = launcher.finish(process)
            assert result.returncode == 1
            *_, last = result.stderr.strip().splitlines()
            lost = f"{platform.tasks[own]} lost {platform.tasks[1 - own]} ("
            assert last.startswith(f"tfdml launch: {lost}"), result.stderr
            assert "Traceback" not in result.stdout + result.stderr
            lines = lines_of(result.stdout, platform.tasks[own])
            assert not any(line.startswith("error: ") for line in lines)
        launcher.expect_nothing_left()


def test_plain_python_names_the_other_task(
    launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training that nobody launched: one sentence, no traceback, exit status 1."""
    script = launcher.script(TRAIN)
    with hosts(tmp_path) as made:
        processes = []
        for host in made:
            addresses = ",".join(each.address for each in made)
            environment = {MARK: launcher.mark, "TFDML_CLUSTER": "", "TFDML_HOSTS": addresses}
            processes.append(
                subprocess.Popen(
                    [*host.within, sys.executable, script, "forever", str(tmp_path)],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env={**os.environ, **environment},
                )
            )
        for index in (0, 1):
            launcher.wait_for(tmp_path / f"worker-{index}")
        made[0].cut()
        monkeypatch.setattr(launcher_module, "SECONDS", BOUND_SECONDS)
        for own, process in enumerate(processes):
            result = launcher.finish(process)
            assert result.returncode == 1
            *_, last = result.stderr.strip().splitlines()
            other = f"worker {1 - own} ({made[1 - own].address}:12345)"
            assert last.startswith(f"error: lost {other}: its process, its host or the network")
            assert "Traceback" not in result.stderr
        launcher.expect_nothing_left()


def test_two_workers_that_lose_each_other_are_named_though_the_leader_reaches_both(
    launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorFlow's heartbeats notice nothing of it: they are between each worker and the leader."""
    script = launcher.script(TRAIN)
    with hosts(tmp_path, ("n1", "n2", "n3")) as made:
        launcher.variables = {"TFDML_CLUSTER": "", "TFDML_HOSTS": "n1,n2,n3"}
        processes = [
            launcher.begin(script, "forever", str(launcher.directory), within=host.within)
            for host in made
        ]
        for index in range(3):
            launcher.wait_for(launcher.directory / f"worker-{index}")
        made[1].cannot_reach(made[2])
        made[2].cannot_reach(made[1])
        monkeypatch.setattr(launcher_module, "SECONDS", BOUND_SECONDS)
        ends = [launcher.finish(process) for process in processes]
        assert [end.returncode for end in ends] == [1, 1, 1]
        said = [end.stderr.strip().splitlines()[-1] for end in ends]
        assert said[1].startswith("tfdml launch: worker 1 lost worker 2 (n3:12345)")
        assert said[2].startswith("tfdml launch: worker 2 lost worker 1 (n2:12345)")
        assert said[0].startswith("tfdml launch: worker 0 lost worker ")
        launcher.expect_nothing_left()
