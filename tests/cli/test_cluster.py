"""`tfdml cluster`: what is found here in every format, files for elsewhere, and what is refused."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tfdml import deploy
from tfdml.cli import cluster, main
from tfdml.cluster import hosts, order
from tfdml.cluster.spec import ClusterSpec
from tfdml.deploy.job import Job

# Task 2 of four in a step of Slurm on two nodes with two GPUs each, which all tasks of a node see.
SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "n[1-2]",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_GPUS_ON_NODE": "2",
    "CUDA_VISIBLE_DEVICES": "0,1",
    "TFDML_CLUSTER_PORT": "5000",
}
FOUND = ClusterSpec({"worker": ("n1:5000", "n1:5001", "n2:5000", "n2:5001")}, "worker", 2)
VARIABLES = r"SLURM_.*|TFDML_.*|TF_CONFIG|CUDA_VISIBLE_DEVICES|.*MPI.*|PMI.*|KUBERNETES_.*|TPU_.*|AZ_.*|SM_.*"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the tests run: none of a platform's variables."""
    for name in list(os.environ):
        if re.fullmatch(VARIABLES, name):
            monkeypatch.delenv(name)


@pytest.fixture
def in_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in SLURM.items():
        monkeypatch.setenv(name, text)


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert main.main(["cluster", *arguments]) == status
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        main.main(["cluster", *arguments])
    assert end.value.code == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err and not captured.out
    return captured.err


@pytest.mark.usefixtures("in_slurm")
class TestInAStepOfSlurm:
    @pytest.mark.parametrize("flags", [(), ("--from=slurm",), ("--format", "tf_config")])
    def test_tf_config(self, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]) -> None:
        assert ClusterSpec.from_tf_config(said(capsys, *flags)) == FOUND

    def test_lines_for_a_shell(self, capsys: pytest.CaptureFixture[str]) -> None:
        text = said(capsys, "--format=env")
        assert all(re.match(r"export [A-Z_]+=", line) for line in text.splitlines())
        names = 'printf \'%s\\n\' "$TF_CONFIG" "$CUDA_VISIBLE_DEVICES"'
        shown = subprocess.run(["sh", "-c", text + names], capture_output=True, text=True).stdout
        tf_config, gpus = shown.splitlines()
        assert ClusterSpec.from_tf_config(tf_config) == FOUND
        assert gpus == "0"  # Its half of the node's two.

    def test_hosts(self, capsys: pytest.CaptureFixture[str]) -> None:
        text = said(capsys, "--format=hosts").strip()
        assert text == "n1:2,n2:2"
        assert hosts.addresses_of(hosts.parse_list(text, "it"), 5000) == list(FOUND.jobs["worker"])

    def test_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert json.loads(said(capsys, "--format=json")) == {
            "platform": "slurm",
            "cluster": {"worker": list(FOUND.jobs["worker"])},
            "task": {"type": "worker", "index": 2},
            "is_chief": False,
            "host": "n2",
            "local_index": 0,
            "tasks_on_host": 2,
            "gpus": ["0"],
        }

    def test_explain_says_of_every_platform_why(self, capsys: pytest.CaptureFixture[str]) -> None:
        lines = said(capsys, "--explain").splitlines()
        rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in lines}
        assert list(rows) == list(order.PLATFORMS)
        assert rows["tf_config"] == ["-", "TF_CONFIG is not set"]
        assert rows["slurm"] == ["applies", "this is worker 2 at n2:5000, of 4 worker"]
        assert rows["kubernetes"] == ["-", "not tried, because slurm applies"]

    def test_explain_ends_with_the_error(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SLURM_STEP_NODELIST", "n[1-2")
        (line,) = (
            line
            for line in said(capsys, "--explain", status=2).splitlines()
            if line.startswith("slurm")
        )
        assert line.split()[1] == "error" and "n[1-2" in line

    def test_another_platform_is_an_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        error = refused(capsys, "--from=kubernetes")
        assert error.startswith("error: platform 'kubernetes' does not apply here, because ")
        assert error.count("\n") == 1


def test_a_single_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["cluster"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "has no TF_CONFIG" in captured.err
    assert said(capsys, "--format=env") == "export TFDML_CLUSTER=local\n"
    assert said(capsys, "--format=hosts") == "localhost:1\n"
    assert json.loads(said(capsys, "--format=json"))["platform"] == "local"


def test_ipv6_addresses_of_hosts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ClusterSpec({"chief": ("[fd00::1]:1",), "worker": ("[fd00::1]:2", "[fd00::2]:1")})
    monkeypatch.setenv("TF_CONFIG", spec.to_tf_config())
    assert said(capsys, "--format=hosts") == "[fd00::1]:2,[fd00::2]:1\n"


@pytest.mark.parametrize("kind", deploy.FILES)
def test_files(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    text = said(capsys, f"--format={kind}", "--workers=4", "train.py", "--workers=9")
    assert text == deploy.generate(kind, Job(("train.py", "--workers=9"), workers=4))


def test_every_field_of_a_job_has_a_flag_in_both_spellings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = {
        "name": "digits",
        "workers": 3,
        "ps": 2,
        "gpus_per_worker": 1,
        "cpus_per_worker": 6,
        "memory_gib_per_worker": 8,
        "image": "me/train:1",
        "namespace": "team",
        "volume": "claim",
        "mount_path": "/mnt/a",
        "time_limit_minutes": 24 * 60 + 90,
        "save_seconds": 60,
        "max_restarts": 3,
        "port": 4000,
        "chief": True,
        "evaluator": True,
    }
    job = Job(("a b.py", "--x", "--", "-y"), **settings)
    assert set(settings) == set(Job.__dataclass_fields__) - {"command"}
    values = {name: str(value) for name, value in settings.items()}
    values["time_limit"] = "1d1h30m"
    switches = [f"--{name}" for name in ("chief", "evaluator")]
    for name in ("time_limit_minutes", "chief", "evaluator"):
        del values[name]
    spaced = [part for name, text in values.items() for part in (f"--{name}", text)]
    dashed = [f"--{name.replace('_', '-')}={text}" for name, text in values.items()]
    for flags in ([*switches, *spaced], [*dashed, *switches], [*dashed, *switches, "--"]):
        text = said(capsys, "--format=jobset", *flags, *job.command)
        assert text == deploy.generate("jobset", job)


@pytest.mark.parametrize(
    ("text", "minutes"), [("90m", 90), ("24h", 1440), ("2d", 2880), ("1d12h", 2160), ("1h5m", 65)]
)
def test_time_limits(text: str, minutes: int) -> None:
    assert cluster._minutes(text) == minutes


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--format=yaml"],
            "--format=yaml: unknown; the formats are tf_config, env, hosts, json, slurm",
        ),
        (["--format=kubernets", "a.py"], "Did you mean 'kubernetes'?"),
        (["--from=slrum"], "platform 'slrum': unknown; the platforms are .* Did you mean 'slurm'"),
        (["--format=slurm"], "--format=slurm writes a file that runs a script: name the script"),
        (["--format=slurm", "--from=slurm", "a.py"], "no use for --from=slurm.*: leave it out"),
        (["--workers=2", "a.py"], "--format=tf_config describes .* no use for --workers, 'a.py'"),
        (["--explain", "--chief"], "--explain describes .* no use for --chief"),
        (["--explain", "--format=json"], "--explain shows how .*: leave out --format"),
        (["--format=slurm", "--time_limit=90", "a.py"], "like 90m, 24h or 1d12h, got '90'"),
        (["--format=slurm", "--time_limit=", "a.py"], "--time_limit must be .* got ''"),
        (["--format=slurm", "--time_limit=1m", "a.py"], "`save_seconds` must be .* to 59, got 120"),
        (["--format=slurm", "--workers=0", "a.py"], "`workers` must be .* got 0"),
        (["--format=tpu", "--ps=1", "a.py"], "workers only"),
        (["--format=jobset", "--volume=/mnt", "a.py"], "the name of a PersistentVolumeClaim"),
        (["--format=compose", "--volume=a b", "a.py"], "`volume` must be"),
        (["--format=json", "--output=/"], "--output=/ is there already"),
        (["--format=json", "--output=/no/such/file"], "cannot be written: No such file"),
    ],
)
def test_one_sentence_each(
    capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    error = refused(capsys, *flags)
    assert re.search(message, error), error
    assert error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize("flag", ["--wokers=2", "--workers=two", "--workers"])
def test_what_argparse_refuses(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert flag.partition("=")[0] in refused(capsys, "--format=slurm", flag)


def test_output_writes_a_file_says_how_to_start_it_and_keeps_an_edited_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "my job.sbatch"
    assert main.main(["cluster", "--format=slurm", f"--output={path}", "train.py"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and f"sbatch {shlex.quote(str(path))}" in captured.err
    assert path.read_text() == deploy.generate("slurm", Job(("train.py",)))
    assert os.access(path, os.X_OK)
    path.write_text("edited")
    assert "is there already" in refused(capsys, "--format=slurm", f"--output={path}", "train.py")
    assert path.read_text() == "edited"
    manifest = tmp_path / "a.yaml"
    main.main(["cluster", "--format=jobset", f"--output={manifest}", "train.py"])
    assert not os.access(manifest, os.X_OK)
    assert f"kubectl apply -f {manifest}" in capsys.readouterr().err


def test_help_teaches_with_examples_that_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as end:
        main.main(["cluster", "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in [*deploy.FILES, "tf_config", "env", "hosts", "json"])
    monkeypatch.chdir(tmp_path)
    joined = shown.replace("\\\n", " ")
    examples = re.findall(r"^    tfdml cluster (.* train\.py.*)$", joined, re.M)
    assert len(examples) == 4
    for example in examples:
        arguments = shlex.split(example.partition(" > ")[0])
        assert main.main(["cluster", *arguments]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["name"] == "tfdml"
    assert {path.name for path in tmp_path.iterdir()} == {
        "train.sbatch",
        "Dockerfile",
        "train.yaml",
    }


def test_does_not_import_tensorflow() -> None:
    code = (
        "import sys, json; from tfdml.cli import main; from tfdml import deploy\n"
        "for kind in deploy.FILES:\n"
        "    main.main(['cluster', f'--format={kind}', 'train.py'])\n"
        "main.main(['cluster', '--explain'])\n"
        "print(); print(json.dumps(sorted(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = set(json.loads(result.stdout.splitlines()[-1]))
    assert {"tfdml.deploy.tpu", "tfdml.deploy.slurm"} <= loaded
    assert not loaded & {"tensorflow", "keras", "numpy"}
