"""What a user gets wrong on the launcher's command line is one sentence, status 2, no traceback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfdml.cli import main


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "train.py"
    path.write_text("raise AssertionError('was started')")
    return str(path)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        main.main(["launch", *arguments])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--workers=0"], "--workers must be at least 1, got 0"),
        (["--workers=-2"], "--workers must be at least 1, got -2"),
        (["--hosts=a:1,b:1"], "none of the hosts a, b is clearly this one"),
        (["--node_index=0"], "--node_index is about the hosts of --hosts or --hostfile"),
        (["--ssh"], "--ssh is about the hosts of --hosts or --hostfile, which are missing"),
        (
            ["--ssh_env=HOME"],
            "--ssh_env takes a variable along to other hosts, but --ssh is missing",
        ),
        (
            ["--hosts=a,b", "--ssh", "--ssh_env=NO_SUCH"],
            "--ssh_env=NO_SUCH names a variable that is not",
        ),
        (["--hosts=a:1", "--hostfile=x"], "--hosts and --hostfile both list the hosts"),
        (["--hostfile=/nowhere/x"], "--hostfile=/nowhere/x cannot be read"),
        (["--hosts=a:1,b:1", "--node_index=2"], "--node_index must be from 0 to 1"),
        (["--hosts=a:0,b", "--node_index=0"], "--hosts must be HOST or HOST:TASKS"),
        (["--hosts=a:1,b:1", "--node_index=-1"], "--node_index must be from 0 to 1"),
        (["--hosts=a:1,b:1", "--node_index=0", "--workers=2"], "leave out --workers"),
        (["--hosts=a:2", "--node_index=0", "--base_port=65535"], "--base_port=65535 gives ports"),
        (["--gpus_per_worker=-1"], "--gpus_per_worker must be 0 or more"),
        (["--gpus_per_worker=1"], "but this host shows 0"),
        (["--grace_period_seconds=-1"], "--grace_period_seconds must not be negative"),
        (["--max_restarts=-1"], "--max_restarts must be 0 or more, got -1"),
        (["--restart-backoff-seconds=-0.5"], "--restart_backoff_seconds must be 0 or more seconds"),
        (["--restart_backoff_seconds=nan"], "--restart_backoff_seconds must be 0 or more seconds"),
        (["--hang_timeout_seconds=-1"], "must be 0 or more seconds, got -1. Use 0 for never."),
        (["--hang_timeout_seconds=inf"], "must be 0 or more seconds, got inf. Use 0 for never."),
        (["--give_up_after=0"], "--give_up_after must be 1 or more failures, got 0"),
        (["--min_workers=1", "--max_restarts=3"], "--min_workers=1 leaves out workers that the"),
        (["--min_workers=0", "--workers=2"], "must be from 1 to 2, the number of --workers, got 0"),
        (["--min_workers=3", "--workers=2"], "must be from 1 to 2, the number of --workers, got 3"),
        (["--min_workers=1", "--workers=2"], "but --max_restarts=0 ends the job before"),
        (
            ["--min_workers=1", "--workers=2", "--max_restarts=3", "--give_up_after=4"],
            "after 4 failures (--give_up_after), but --max_restarts=3 ends the job before",
        ),
        (["--standby=-1"], "--standby must be 0 or more processes, got -1"),
        (["--standby=1"], "--standby=1 is for tasks that start again: allow that with"),
        (["--standby=1", "--ssh", "--hosts=a,b"], "--standby=1 is of no use with --ssh"),
        (["--hosts=a,b", "--min_workers=1", "--node_index=0"], "give --workers, too"),
        (["--workers=2", "--ps=0"], "--ps must be at least 1, got 0: leave it out"),
        (["--workers=2", "--ps=-1"], "--ps must be at least 1, got -1"),
        (["--workers=0", "--ps=1"], "--workers must be at least 1, got 0"),
        (["--ps=2"], "--ps=2 needs workers that train: give --workers=N, too"),
        (["--hosts=a,b", "--ps=2"], "with TFDML_CLUSTER_PS=2 for each (docs/clusters.md)"),
        (
            ["--workers=2", "--evaluator"],
            "--evaluator is for a job with parameter servers: give --ps",
        ),
        (
            ["--workers=2", "--ps=1", "--min_workers=1", "--max_restarts=3"],
            "--min_workers=1 does not apply with --ps, where the job goes on without a lost worker",
        ),
        (["--workers=2", "--ps=1", "--gpus_per_worker=1"], "need 2 GPU(s), but this host shows 0"),
    ],
)
def test_wrong_flags(
    capsys: pytest.CaptureFixture[str], script: str, flags: list[str], message: str
) -> None:
    error = refused(capsys, *flags, script)
    assert message in error
    assert error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize("flag", ["--wokers=2", "--workers=two", "--start_method=thread"])
def test_what_argparse_refuses(capsys: pytest.CaptureFixture[str], script: str, flag: str) -> None:
    assert flag.split("=")[0] in refused(capsys, flag, script)


def test_a_script_that_does_not_exist(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.py", tmp_path):
        error = refused(capsys, str(path))
        assert f"SCRIPT '{path}' is not a file" in error and error.count("\n") == 1


def test_no_script(capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(capsys, "--workers=2")
    assert error.endswith("the following arguments are required: SCRIPT\n")


def test_a_log_directory_that_cannot_be_made(
    capsys: pytest.CaptureFixture[str], script: str
) -> None:
    error = refused(capsys, f"--log_dir={script}/logs", script)
    assert "cannot write the log file" in error and error.count("\n") == 1


def test_a_hostfile_without_a_host(
    capsys: pytest.CaptureFixture[str], script: str, tmp_path: Path
) -> None:
    hostfile = tmp_path / "hosts.txt"
    hostfile.write_text("# nobody\n")
    assert f"{hostfile} names no host" in refused(capsys, f"--hostfile={hostfile}", script)
    hostfile.write_text("a slots=2\n")
    error = refused(capsys, f"--hostfile={hostfile}", "--workers=2", script)
    assert "--hostfile says how many workers each host has: leave out --workers" in error


def test_hosts_with_a_tf_config_that_is_set(
    capsys: pytest.CaptureFixture[str], script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", "{}")
    error = refused(capsys, "--hosts=a:1,b:1", "--node_index=0", script)
    assert "TF_CONFIG is already set" in error and error.count("\n") == 1


def test_the_tasks_of_a_job_with_parameter_servers(
    capsys: pytest.CaptureFixture[str], script: str
) -> None:
    flags = ["--workers=1", "--ps=2", "--evaluator", "--standby=1", "--dry_run"]
    assert main.main(["launch", *flags, script]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("# ")]
    names = [line.removeprefix("# ").partition(";")[0] for line in lines]
    assert names == ["chief 0", "worker 0", "ps 0", "ps 1", "evaluator 0"]


@pytest.mark.parametrize("name", ["--gpus_per_worker", "--gpus-per-worker"])
def test_both_spellings_and_both_forms(
    capsys: pytest.CaptureFixture[str], script: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "5,6,7")
    arguments = ["launch", "--workers", "2", name, "1", "--dry_run", script, name, "x"]
    assert main.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "CUDA_VISIBLE_DEVICES=6" in shown
    assert shown.count(f"{script} {name} x") == 2
